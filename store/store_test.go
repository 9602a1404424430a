package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *store.Store, key, value string) int64 {
	t.Helper()
	res, err := s.Txn(context.Background(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Revision
}

func TestWatchWakesOnlyForItsRange(t *testing.T) {
	s := open(t, store.Config{})
	w, err := s.Watch(store.WatchConfig{Key: "b/", End: store.PrefixEnd("b/"), Prev: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	last := put(t, s, "a/1", "x")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if b, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next = %v, %v", b, err)
	}
	if got := w.Progress(); got != last {
		t.Fatalf("progress %d, want %d", got, last)
	}
	go func() {
		for i := range 100 {
			put(t, s, fmt.Sprintf("%c/1", 'a'+i%2), "x")
		}
	}()
	var version int64
	for version < 50 {
		b, err := w.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		e := b.Events[0].Entry
		if version++; e.Key != "b/1" || e.Version != version || (b.Events[0].Prev == nil) != (version == 1) {
			t.Fatalf("event %d: %+v", version, e)
		}
	}
}

func TestSlowWatcherIsTold(t *testing.T) {
	s := open(t, store.Config{HistoryRevisions: 10})
	w, err := s.Watch(store.WatchConfig{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 20 {
		put(t, s, "k", "v")
	}
	_, err = w.Next(context.Background())
	var compacted *store.CompactedError
	if !errors.As(err, &compacted) || compacted.Oldest != 11 {
		t.Fatal(err)
	}
	if _, err := s.Range(context.Background(), store.Range{Key: "k", Revision: 10}); !errors.Is(err, store.ErrCompacted) {
		t.Fatal(err)
	}
	if r, err := s.Range(context.Background(), store.Range{Key: "k", Revision: 11}); err != nil || r.Entries[0].Version != 10 {
		t.Fatal(r, err)
	}
}

func TestDecodedOnce(t *testing.T) {
	s := open(t, store.Config{})
	op := store.OpPut("k", []byte("v"))
	op.Decoded = "mine"
	if _, err := s.Txn(t.Context(), store.Txn{If: []store.Compare{store.IfMissing("k")}, Then: []store.Op{op}}); err != nil {
		t.Fatal(err)
	}
	e, _, _ := s.Get(t.Context(), "k")
	if v, err := e.Decoded(nil); v != "mine" || err != nil {
		t.Fatal(v, err)
	}
	n := 0
	for range 2 {
		v, err := e.Cached("json", func(*store.Entry) (any, error) { n++; return n, nil })
		if v != 1 || err != nil {
			t.Fatal(v, err)
		}
	}
}

// A range that is not counted returns the same entries and the same More.
func TestRangeSkipCount(t *testing.T) {
	s := open(t, store.Config{})
	for i := range 5 {
		put(t, s, fmt.Sprint("k/", i), "x")
	}
	for _, r := range []store.Range{
		{Key: "k/", End: store.PrefixEnd("k/")},
		{Key: "k/1", End: "k/4"},
		{Key: "k/2", End: "\x00"},
		{Key: "k/2"},
		{Key: "none"},
		{Key: "k/", End: store.PrefixEnd("k/"), Revision: 3},
	} {
		for r.Limit = range 7 {
			r.SkipCount = false
			want, err := s.Range(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			r.SkipCount = true
			got, err := s.Range(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Entries, want.Entries) || got.More != want.More || got.Count != len(want.Entries) || got.Revision != want.Revision {
				t.Errorf("%+v: %+v, want %+v", r, got, want)
			}
		}
	}
}
