// Command store measures a store beside an embedded etcd, in one run and under the same conditions: values of
// 256 bytes, one directory on one disk, every write synced to it before it is acknowledged. For each line of
// its table the two take turns, each in a fresh directory, and what counts is the median of the rounds.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"time"
)

func main() {
	cfg := config{}
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "directory for the data, on the disk to be measured")
	flag.DurationVar(&cfg.duration, "time", 3*time.Second, "how long to measure each side in each round")
	flag.IntVar(&cfg.rounds, "rounds", 3, "how often the two take turns")
	flag.IntVar(&cfg.keys, "keys", 10_000, "how many keys there are to read and write")
	flag.IntVar(&cfg.manyKeys, "many-keys", 1_000_000, "how many keys the large store has")
	run := flag.String("run", ".", "only the lines that match")
	flag.Parse()
	only, err := regexp.Compile(*run)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%-47s %12s %12s %8s %8s\n", "", "etcd", "store", "ratio", "goal")
	for _, c := range cases {
		if !only.MatchString(c.name) {
			continue
		}
		row, err := compare(cfg, c)
		if err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
		fmt.Println(row)
	}
	for _, f := range figures {
		if !only.MatchString(f.name) {
			continue
		}
		row, err := f.measure(cfg)
		if err != nil {
			log.Fatalf("%s: %v", f.name, err)
		}
		fmt.Printf("%-47s %12s %12s %8s %8s\n", f.name, "", row, "", f.goal)
	}
}
