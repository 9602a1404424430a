// Command conformance runs tests of the official Kubernetes conformance suite against examples/cluster: it builds the
// suite's test binary, kubectl and the images that the tests pull from their Go modules, starts a cluster of one node in
// a network namespace of its own, runs the lists of tests by ginkgo, and tells what failed.
//
//	go run . -lists api,extensions,scheduling
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/inboard/inboard/internal/nstest"
)

// options are what the flags say.
type options struct {
	lists   []string
	dir     string
	focus   string
	build   bool
	procs   int
	timeout time.Duration
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	lists := fs.String("lists", "api,extensions,scheduling", "lists of tests to run, of "+strings.Join(listNames(), ", "))
	fs.StringVar(&o.dir, "dir", filepath.Join(repository, "bin", "conformance"), "where the programs that are built stay, and the logs of the last run")
	fs.StringVar(&o.focus, "focus", "", "regular expression: of the lists, run only the tests that match")
	fs.BoolVar(&o.build, "build", true, "build the programs first; with -build=false those of the last time run")
	fs.IntVar(&o.procs, "procs", 2, "tests to run at once; those that are marked as serial run alone in any case")
	fs.DurationVar(&o.timeout, "timeout", time.Hour, "of each list")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	o.lists = strings.Split(*lists, ",")
	var err error
	o.dir, err = filepath.Abs(o.dir)
	return o, err
}

// run builds all with the network that this process has, and runs the tests without it.
func run(o *options) error {
	if os.Geteuid() != 0 && !nstest.Inside() {
		return errors.New("this needs root, for containers and a network namespace")
	}
	if !nstest.Inside() {
		if o.build {
			if err := build(o.dir); err != nil {
				return err
			}
		}
		// Ctrl-C reaches the copy in the namespaces, too, and ends it well; this one waits for it.
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	nstest.Enter()
	runtime.LockOSThread() // what is started here is told when this thread ends
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := network(); err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	mirror, err := serveImages(ctx, o.dir)
	if err != nil {
		return fmt.Errorf("serve the images: %w", err)
	}
	passed := true
	for _, name := range o.lists {
		ok, err := runList(ctx, o, name, mirror)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		passed = passed && ok
	}
	if !passed {
		return errors.New("not all tests did what was expected of them")
	}
	return nil
}

// runList runs a list on a cluster of its own, and tells whether it ended as expected.
func runList(ctx context.Context, o *options, name, mirror string) (bool, error) {
	l, err := readList(name, o.focus)
	if err != nil {
		return false, err
	}
	results := filepath.Join(o.dir, "results", name)
	if err := os.RemoveAll(results); err != nil {
		return false, err
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return false, err
	}
	c, err := startCluster(ctx, o.dir, results, mirror)
	if err != nil {
		return false, err
	}
	fmt.Printf("%s: %d tests; logs in %s\n", name, len(l.tests), results)
	begun := time.Now()
	specs, err := ginkgo(ctx, o, c, l, results)
	took := time.Since(begun)
	if err := errors.Join(err, c.stop()); err != nil {
		return false, fmt.Errorf("%w; see %s", err, results)
	}
	return judge(os.Stdout, l, specs, took), nil
}
