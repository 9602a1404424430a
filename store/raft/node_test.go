package raft_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg raft.Config) *raft.Node {
	t.Helper()
	n, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func put(t testing.TB, s *store.Store, key, value string) int64 {
	t.Helper()
	res, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Revision
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		n, err := raft.Open(raft.Config{Dir: dir, SnapshotEntries: 5})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := n.Store().Revision(), int64(1+20*i); got != want {
			t.Fatalf("revision %d after %d reopens, want %d", got, i, want)
		}
		for j := range 20 {
			put(t, n.Store(), fmt.Sprintf("k%d", j), fmt.Sprint(i))
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	n := open(t, raft.Config{Dir: dir})
	if _, err := raft.Open(raft.Config{Dir: dir}); !errors.Is(err, store.ErrLocked) {
		t.Fatal(err)
	}
	put(t, n.Store(), "still", "works")
}

// TestCloseWhileWriting closes under load. Every caller is told what became of its change, and what was
// acknowledged is there afterwards.
func TestCloseWhileWriting(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SnapshotEntries: 20}
	n := open(t, cfg)
	var mu sync.Mutex
	var acked []string
	started := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d/%d", w, i)
				_, err := n.Store().Txn(context.Background(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(key))}})
				if err != nil {
					if !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnknownOutcome) {
						t.Errorf("told %v", err)
					}
					return
				}
				mu.Lock()
				acked = append(acked, key)
				if len(acked) == 500 {
					once.Do(func() { close(started) })
				}
				mu.Unlock()
			}
		})
	}
	<-started
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	s := open(t, cfg).Store()
	for _, key := range acked {
		if e, _, err := s.Get(t.Context(), key); err != nil || e == nil || string(e.Value) != key {
			t.Errorf("%s was acknowledged: %+v, %v", key, e, err)
		}
	}
}

// TestContextsUnderLoad lets callers give up at any moment: what they are told holds.
func TestContextsUnderLoad(t *testing.T) {
	s := open(t, raft.Config{Dir: t.TempDir()}).Store()
	type outcome struct {
		key string
		err error
	}
	outcomes := make(chan outcome, 1000)
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000))*time.Microsecond)
				key := fmt.Sprintf("%d/%d", w, i)
				_, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, nil)}})
				cancel()
				outcomes <- outcome{key, err}
			}
		})
	}
	wg.Wait()
	close(outcomes)
	put(t, s, "last", "") // all before it is decided
	for o := range outcomes {
		e, _, err := s.Get(t.Context(), o.key)
		switch {
		case err != nil:
			t.Error(err)
		case o.err == nil && e == nil:
			t.Errorf("%s was acknowledged and is not there", o.key)
		case o.err != nil && !errors.Is(o.err, store.ErrUnknownOutcome) && e != nil:
			t.Errorf("%s is there, its caller was told %v", o.key, o.err)
		case o.err != nil && !errors.Is(o.err, context.DeadlineExceeded):
			t.Errorf("%s: %v does not say why", o.key, o.err)
		}
	}
}
