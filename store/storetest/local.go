package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// testLocal is what only a store of this process can show.
func testLocal(open Opener) func(*testing.T, Store) {
	return func(t *testing.T, s Store) {
		if _, ok := s.(local); !ok {
			t.Skip("the store is not spoken to as a *store.Store")
		}
		for name, test := range map[string]func(*testing.T, *store.Store){
			"Decoded": testDecoded, "BadRequests": testBadRequestsHere, "SlowWatcher": testSlowWatcher, "Close": testClose,
		} {
			t.Run(name, func(t *testing.T) { test(t, open(t).(local).Store) })
		}
	}
}

// testSlowWatcher compacts what a watcher has not looked at.
func testSlowWatcher(t *testing.T, s *store.Store) {
	w := mustWatch(t, Local(s), store.WatchConfig{Key: "k", Revision: 2})
	for range 5 {
		mustPut(t, Local(s), "k", "v") // revisions 2 to 6
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 2 {
		t.Fatalf("%+v, %v", b, err)
	}
	if err := s.Compact(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	var compacted *store.CompactedError
	if _, err := w.Next(t.Context()); !errors.As(err, &compacted) || compacted.Oldest != 5 {
		t.Errorf("watcher behind the compaction: %v", err)
	}
}

func testBadRequestsHere(t *testing.T, s *store.Store) {
	put := store.OpPut("k", nil)
	for name, txn := range map[string]store.Txn{
		"put of a range":       {Then: []store.Op{{Key: "a", End: "b"}}},
		"an unknown operation": {Then: []store.Op{{Type: 9, Key: "k"}}},
		"a negative limit":     {Then: []store.Op{{Type: store.TypeGet, Key: "k", Limit: -1}}},
		"an unknown target":    {If: []store.Compare{{Key: "k", Target: 9}}, Then: []store.Op{put}},
		"an unknown relation":  {If: []store.Compare{{Key: "k", Result: 9}}, Then: []store.Op{put}},
	} {
		if _, err := s.Txn(t.Context(), txn); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Watch(store.WatchConfig{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch without a key: %v", err)
	}
	if _, err := s.Watch(store.WatchConfig{Key: "k", Revision: -1}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch from a negative revision: %v", err)
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
	w := mustWatch(t, Local(s), store.WatchConfig{Key: "k"})
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
	ctx := t.Context()
	_, errPut := put(ctx, Local(s), "k", "v")
	_, _, errGet := s.Get(ctx, "k")
	_, errRange := s.Range(ctx, store.Range{Key: "k", Linearizable: true})
	_, errWatch := s.Watch(store.WatchConfig{Key: "k"})
	for name, err := range map[string]error{
		"Txn": errPut, "Get": errGet, "Range": errRange, "Watch": errWatch, "Compact": s.Compact(ctx, 1), "Sync": s.Sync(ctx),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
