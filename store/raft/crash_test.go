package raft_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

var (
	crashRounds = flag.Int("crash-rounds", 10, "how often TestCrash kills a writing process")
	crashDir    = flag.String("crash-dir", "", "makes TestCrash the process that writes into this directory until it is killed")
)

// crashConfig makes snapshots and log segments change often, since that is where a crash hurts.
func crashConfig(dir string) raft.Config {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return raft.Config{Dir: dir, SnapshotEntries: 100, SegmentBytes: 64 << 10, Logger: logger}
}

const crashWriters = 8

// TestCrash kills a process that writes, at random points, and looks for every write that it had
// acknowledged. Each writer writes its keys 1, 2, 3, ... one after the other.
func TestCrash(t *testing.T) {
	if *crashDir != "" {
		writeUntilKilled(t, *crashDir)
		return
	}
	dir := t.TempDir()
	var acked [crashWriters]int
	total := 0
	for round := range *crashRounds {
		crash(t, dir, &acked)
		total = verify(t, round, dir, &acked)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d writes, none lost", *crashRounds, total)
}

func writeUntilKilled(t *testing.T, dir string) {
	n, err := raft.Open(crashConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		r, err := n.Store().Range(context.Background(), store.Range{Key: crashPrefix(w), End: store.PrefixEnd(crashPrefix(w))})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for i := r.Count + 1; ; i++ {
				put(t, n.Store(), crashKey(w, i), strings.Repeat(fmt.Sprint(i), 20))
				fmt.Printf("acked %d %d\n", w, i)
			}
		})
	}
	wg.Wait()
}

func crashPrefix(w int) string { return fmt.Sprintf("writer-%d/", w) }
func crashKey(w, i int) string { return fmt.Sprintf("%s%08d", crashPrefix(w), i) }

// crash runs the writing process, kills it, and notes what it acknowledged.
func crash(t *testing.T, dir string, acked *[crashWriters]int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$", "-crash-dir="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if rand.IntN(4) == 0 { // also while it opens
		kill.Reset(time.Duration(rand.IntN(60)) * time.Millisecond)
	}
	for first := true; lines.Scan(); first = false {
		var w, i int
		if n, _ := fmt.Sscanf(lines.Text(), "acked %d %d", &w, &i); n != 2 {
			t.Errorf("the writer says: %s", lines.Text())
			continue
		}
		acked[w] = max(acked[w], i)
		if first {
			kill.Reset(time.Duration(rand.IntN(150_000)) * time.Microsecond)
		}
	}
	_ = cmd.Wait()
}

// verify opens what the killed process left.
func verify(t *testing.T, round int, dir string, acked *[crashWriters]int) (total int) {
	n, err := raft.Open(crashConfig(dir))
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer n.Close()
	for w := range crashWriters {
		r, err := n.Store().Range(t.Context(), store.Range{Key: crashPrefix(w), End: store.PrefixEnd(crashPrefix(w))})
		if err != nil {
			t.Fatal(err)
		}
		// One write may have happened without having been acknowledged.
		if r.Count < acked[w] || r.Count > acked[w]+1 {
			t.Errorf("round %d: writer %d has %d keys, %d were acknowledged", round, w, r.Count, acked[w])
		}
		for i, e := range r.Entries {
			if e.Key != crashKey(w, i+1) || string(e.Value) != strings.Repeat(fmt.Sprint(i+1), 20) || e.Version != 1 {
				t.Fatalf("round %d: writer %d: entry %d is %+v", round, w, i+1, e)
			}
		}
		acked[w] = r.Count
		total += r.Count
	}
	if rev := n.Store().Revision(); rev != int64(total+1) {
		t.Errorf("round %d: revision %d after %d writes", round, rev, total)
	}
	return total
}
