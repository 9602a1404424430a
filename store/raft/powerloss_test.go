package raft_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

var powerRounds = flag.Int("power-rounds", 6, "how often TestPowerLoss lets the power fail")

// TestPowerLoss lets the power fail under a store that writes: what was not synced is lost, or there in
// part. Whatever was acknowledged is there.
func TestPowerLoss(t *testing.T) {
	dir, total, lost := t.TempDir(), 0, 0
	for round := range *powerRounds {
		files := newVolatileFiles()
		files.delay = time.Duration(rand.IntN(3)) * time.Millisecond
		cfg := raft.Config{Dir: dir, SnapshotEntries: 50, SegmentBytes: 64 << 10}
		cfg.SetFiles(files)
		n, err := raft.Open(cfg)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		total = checkKeys(t, n.Store(), total, -1)
		acked := writeKeys(t, n.Store(), total)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		after := t.TempDir()
		lost += files.fail(t, dir, after, func() { total = acked() })
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		dir = after
	}
	n := open(t, raft.Config{Dir: dir, SegmentBytes: 64 << 10})
	t.Logf("the power failed %d times, with %d writes not synced; %d keys, none lost", *powerRounds, lost, checkKeys(t, n.Store(), total, -1))
}

// writeKeys writes keys, one after the other, until the store is closed. It returns how many there are.
func writeKeys(t *testing.T, s *store.Store, from int) (acked func() int) {
	var mu sync.Mutex
	n := from
	var done sync.WaitGroup
	done.Go(func() {
		for i := from; ; i++ {
			_, err := s.Txn(context.Background(), store.Txn{Then: []store.Op{store.OpPut(fmt.Sprintf("%08d", i), value(i))}})
			if err != nil {
				if !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnknownOutcome) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			n = i + 1
			mu.Unlock()
		}
	})
	t.Cleanup(done.Wait)
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// value is different for each key, and of any length.
func value(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d.", i), i%97) }

// checkKeys sees to it that at least so many keys are there, and at most one more than maxi unless that is
// negative, without a gap and with their values. It returns how many.
func checkKeys(t *testing.T, s *store.Store, atLeast, maxi int) int {
	t.Helper()
	r, err := s.Range(t.Context(), store.Range{Key: "0", End: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Count < atLeast || (maxi >= 0 && r.Count > maxi) {
		t.Fatalf("%d keys, %d were acknowledged", r.Count, atLeast)
	}
	for i, e := range r.Entries {
		if e.Key != fmt.Sprintf("%08d", i) || !bytes.Equal(e.Value, value(i)) {
			t.Fatalf("key %d is %s = %q", i, e.Key, e.Value)
		}
	}
	return r.Count
}

// TestTornTail cuts the last write off at every byte, as a failing disk does: what was written before is
// there, and the store goes on.
func TestTornTail(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
	files := newVolatileFiles()
	cfg.SetFiles(files)
	n := open(t, cfg)
	for i := range 20 {
		put(t, n.Store(), fmt.Sprintf("%08d", i), string(value(i)))
	}
	before := wholeLog(t, cfg.Dir)
	put(t, n.Store(), fmt.Sprintf("%08d", 20), string(value(20)))
	after := wholeLog(t, cfg.Dir)
	first := 0
	for before[first] == after[first] {
		first++
	}
	last := len(bytes.TrimRight(after, "\x00"))
	step := 7
	if *powerRounds > 100 {
		step = 1
	}
	tried := 0
	for at := first; at < last; at += step {
		tried++
		dir := t.TempDir()
		copyStore(t, cfg.Dir, dir, files.files)
		torn := append(bytes.Clone(after[:at]), before[at:]...)
		if err := os.WriteFile(filepath.Join(dir, "log", filepath.Base(glob(t, cfg.Dir, "log", "*.wal"))), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := raft.Open(raft.Config{Dir: dir, SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatalf("cut off at byte %d of %d to %d: %v", at, first, last, err)
		}
		checkKeys(t, again.Store(), 20, 20)
		put(t, again.Store(), fmt.Sprintf("%08d", 20), string(value(20)))
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a write of %d bytes, cut off in %d places", last-first, tried)
}

func wholeLog(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(glob(t, dir, "log", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
