// Package storetest is what every store.Store must pass, however its changes get to it. Only tests
// import it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// Opener opens an empty store with the default configuration and sees to it that it is closed at the
// end of the test.
type Opener func(t *testing.T) *store.Store

// Run runs the whole suite, each test on a store of its own.
func Run(t *testing.T, open Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"Model", testModel},
		{"Linearizable", testLinearizable},
		{"WatchIsComplete", testWatchIsComplete},
		{"WatchWaits", testWatchWaits},
		{"WatchOfTheFuture", testWatchOfTheFuture},
		{"ReadsDoNotWait", testReadsDoNotWait},
		{"Compaction", testCompaction},
		{"Contexts", testContexts},
		{"BadRequests", testBadRequests},
		{"Decoded", testDecoded},
		{"Close", testClose},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(ctx context.Context, s *store.Store, key, value string) (int64, error) {
	res, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
	return res.Revision, err
}

func mustPut(t *testing.T, s *store.Store, key, value string) int64 {
	t.Helper()
	rev, err := put(t.Context(), s, key, value)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func mustWatch(t *testing.T, s *store.Store, cfg store.WatchConfig) *store.Watcher {
	t.Helper()
	w, err := s.Watch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func testCompaction(t *testing.T, s *store.Store) {
	for i := range 10 {
		mustPut(t, s, "k", fmt.Sprint(i)) // revisions 2 to 11
	}
	if err := s.Compact(t.Context(), 12); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("compact the future: %v", err)
	}
	if err := s.Compact(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), 6); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("compact twice: %v", err)
	}
	var compacted *store.CompactedError
	if _, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 5}); !errors.As(err, &compacted) || compacted.Oldest != 6 {
		t.Errorf("read the compacted: %v", err)
	}
	if _, err := s.Watch(store.WatchConfig{Key: "k", Revision: 6}); !errors.As(err, &compacted) || compacted.Oldest != 6 {
		t.Errorf("watch the compacted: %v", err)
	}
	if r, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 6}); err != nil || string(r.Entries[0].Value) != "4" {
		t.Errorf("read the oldest: %v, %v", r, err)
	}
	w := mustWatch(t, s, store.WatchConfig{Key: "k", Revision: 7})
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 7 {
		t.Errorf("watch after the compacted: %v, %v", b, err)
	}
	// A watcher that is behind a compaction is told so.
	if err := s.Compact(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); !errors.As(err, &compacted) || compacted.Oldest != 10 {
		t.Errorf("watcher behind the compaction: %v", err)
	}
}

func testContexts(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := put(ctx, s, "k", "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("Txn: %v", err)
	}
	if _, _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Range(ctx, store.Range{Key: "k"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Range: %v", err)
	}
	w := mustWatch(t, s, store.WatchConfig{Key: "k"})
	if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if e, rev, err := s.Get(t.Context(), "k"); e != nil || rev != 1 || err != nil {
		t.Errorf("something happened: %v %d %v", e, rev, err)
	}
}

func testBadRequests(t *testing.T, s *store.Store) {
	put := store.OpPut("k", nil)
	for name, txn := range map[string]store.Txn{
		"put without a key":       {Then: []store.Op{store.OpPut("", nil)}},
		"put of a range":          {Then: []store.Op{{Key: "a", End: "b"}}},
		"two puts of a key":       {Then: []store.Op{put, store.OpPut("j", nil), put}},
		"put and deletion":        {Else: []store.Op{put, store.OpDelete("k")}},
		"put within a deletion":   {Else: []store.Op{store.OpDeletePrefix(""), put}},
		"an unknown lease":        {Then: []store.Op{{Type: store.TypePut, Key: "k", Lease: 7}}},
		"an unknown operation":    {Then: []store.Op{{Type: 9, Key: "k"}}},
		"a negative limit":        {Then: []store.Op{{Type: store.TypeGet, Key: "k", Limit: -1}}},
		"condition without a key": {If: []store.Compare{{}}, Then: []store.Op{put}},
		"an unknown target":       {If: []store.Compare{{Key: "k", Target: 9}}, Then: []store.Op{put}},
		"an unknown relation":     {If: []store.Compare{{Key: "k", Result: 9}}, Then: []store.Op{put}},
	} {
		if _, err := s.Txn(t.Context(), txn); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := store.Txn{Then: []store.Op{store.OpPut("k", make([]byte, 3<<20))}}
	if _, err := s.Txn(t.Context(), big); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.Range(t.Context(), store.Range{Key: "k", Revision: 99}); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("range in the future: %v", err)
	}
	if _, err := s.Range(t.Context(), store.Range{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("range without a key: %v", err)
	}
	if _, err := s.Watch(store.WatchConfig{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch without a key: %v", err)
	}
	if rev := s.Revision(); rev != 1 {
		t.Errorf("revision %d: a bad request changed something", rev)
	}
}

func testDecoded(t *testing.T, s *store.Store) {
	type object struct{ name string }
	mine := &object{"mine"}
	op := store.OpPut("k", []byte("bytes"))
	op.Decoded = mine
	res, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{op, store.OpPut("j", []byte("bytes"))}})
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := s.Get(t.Context(), "k")
	if err != nil || e != res.Results[0].Entries[0] {
		t.Fatal("the entry is not shared", err)
	}
	if v, err := e.Decoded(nil); v != mine || err != nil {
		t.Errorf("decoded = %v, %v", v, err)
	}
	e, _, _ = s.Get(t.Context(), "j")
	made := 0
	for range 2 {
		v, err := e.Decoded(func(e *store.Entry) (any, error) {
			made++
			return object{string(e.Value)}, nil
		})
		if v != (object{"bytes"}) || err != nil || made != 1 {
			t.Errorf("decoded = %v, %v; made %d times", v, err, made)
		}
	}
}

func testClose(t *testing.T, s *store.Store) {
	w := mustWatch(t, s, store.WatchConfig{Key: "k"})
	ended := make(chan error)
	go func() {
		_, err := w.Next(context.Background())
		ended <- err
	}()
	time.Sleep(time.Millisecond) // either way is right; let it wait most of the time
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := put(t.Context(), s, "k", "v"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Txn: %v", err)
	}
	if _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Watch(store.WatchConfig{Key: "k"}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
	if err := s.Compact(t.Context(), 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Compact: %v", err)
	}
}
