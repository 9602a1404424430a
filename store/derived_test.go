package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/inboard/inboard/store"
)

// What was derived from an entry is kept while the entry is its key's state, and goes some time after it was replaced;
// who asks then gets it made again.
func TestDerivedValuesOfReplacedEntriesGo(t *testing.T) {
	s, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	put := func(key, value string) *store.Entry {
		t.Helper()
		res, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Results[0].Entries[0]
	}
	made := map[string]int{}
	decode := func(e *store.Entry) (any, error) {
		made[string(e.Value)]++
		return "decoded " + string(e.Value), nil
	}
	ask := func(e *store.Entry, times int) {
		t.Helper()
		v, err := e.Decoded(decode)
		if want := "decoded " + string(e.Value); err != nil || v != want {
			t.Fatalf("decoded is %v, error %v; want %q", v, err, want)
		}
		if made[string(e.Value)] != times {
			t.Errorf("%q was decoded %d times, want %d", e.Value, made[string(e.Value)], times)
		}
	}
	stays, old := put("stays", "stays"), put("k", "old")
	if _, ok := old.Peek(); ok {
		t.Error("something was derived before anybody asked")
	}
	ask(stays, 1)
	ask(old, 1)
	if v, ok := old.Peek(); !ok || v != "decoded old" {
		t.Errorf("what was derived is %v, there: %v", v, ok)
	}
	put("k", "new")
	ask(old, 1) // replaced just now
	for i := range 2000 {
		put("other", fmt.Sprint(i))
	}
	ask(stays, 1)
	ask(old, 2)
	ask(old, 2)
}

// Readers of the past and of entries that are let go of get the right values while it happens.
func TestDerivedValuesWhileWriting(t *testing.T) {
	s, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	w, err := s.Watch(store.WatchConfig{Key: "k", Revision: 2, Prev: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const puts = 4000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range puts {
			if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", fmt.Append(nil, i))}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	decode := func(e *store.Entry) (any, error) { return string(e.Value), nil }
	for i := 0; i < puts; {
		batch, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range batch.Events {
			if v, err := ev.Entry.Decoded(decode); err != nil || v != fmt.Sprint(i) {
				t.Fatalf("event %d is %v, error %v", i, v, err)
			}
			if ev.Prev != nil {
				if v, err := ev.Prev.Decoded(decode); err != nil || v != fmt.Sprint(i-1) {
					t.Fatalf("event %d had %v before, error %v", i, v, err)
				}
			}
			i++
		}
	}
	wg.Wait()
}
