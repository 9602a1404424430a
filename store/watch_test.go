package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inboard/inboard/store"
)

// TestTryNext serves a watcher without a goroutine that waits for it.
func TestTryNext(t *testing.T) {
	s := open(t, store.Config{})
	put := func(key string) {
		t.Helper()
		if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key, nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	var calls atomic.Int64
	w, err := s.Watch(store.WatchConfig{Key: "k", Notify: func() { calls.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	expect := func(revision, notified int64) {
		t.Helper()
		if n := calls.Load(); n != notified {
			t.Fatalf("notified %d times, want %d", n, notified)
		}
		b, ok, err := w.TryNext()
		if ok != (revision != 0) || b.Revision != revision || err != nil {
			t.Fatalf("TryNext: %v %v %v, want revision %d", b, ok, err, revision)
		}
	}
	expect(0, 0)
	put("k") // 2
	put("j") // 3
	put("k") // 4
	expect(2, 1)
	expect(4, 1)
	expect(0, 1)
	put("k") // 5
	expect(5, 2)
	expect(0, 2)
	w.Close()
	if _, _, err := w.TryNext(); !errors.Is(err, store.ErrClosed) {
		t.Fatal(err)
	}
}

// TestTryNextIsBounded looks for the one change of interest in a long history of others.
func TestTryNextIsBounded(t *testing.T) {
	s := open(t, store.Config{})
	const n = 5000
	for i := range n {
		if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(fmt.Sprint("other", i%10), nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", nil)}}); err != nil {
		t.Fatal(err)
	}
	calls := 0
	w, err := s.Watch(store.WatchConfig{Key: "k", Revision: 2, Notify: func() { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for tries := 1; ; tries++ {
		if calls != tries {
			t.Fatalf("notified %d times before try %d", calls, tries)
		}
		b, ok, err := w.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if b.Revision != n+2 || tries < 2 {
				t.Fatalf("revision %d at try %d", b.Revision, tries)
			}
			return
		}
	}
}

// TestWatchSkips leaves changes of a kind out, also of a transaction that has both.
func TestWatchSkips(t *testing.T) {
	s := open(t, store.Config{})
	for _, ops := range [][]store.Op{
		{store.OpPut("a", nil), store.OpPut("b", nil)},   // 2
		{store.OpDelete("a"), store.OpPut("c", nil)},     // 3
		{store.OpPut("a", nil)},                          // 4
		{store.OpDelete("b"), store.OpDelete("nothing")}, // 5
	} {
		if _, err := s.Txn(t.Context(), store.Txn{Then: ops}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		cfg  store.WatchConfig
		want string
	}{
		{store.WatchConfig{SkipPuts: true}, "3a 5b"},
		{store.WatchConfig{SkipDeletes: true}, "2a 2b 3c 4a"},
		{store.WatchConfig{SkipPuts: true, SkipDeletes: true}, ""},
	} {
		test.cfg.End, test.cfg.Revision = "\x00", 2
		w, err := s.Watch(test.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			b, ok, err := w.TryNext()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for _, ev := range b.Events {
				got = append(got, fmt.Sprint(b.Revision)+ev.Entry.Key)
			}
		}
		if got := strings.Join(got, " "); got != test.want || w.Progress() != 5 {
			t.Errorf("%+v: %q, want %q; progress %d", test.cfg, got, test.want, w.Progress())
		}
		w.Close()
	}
}
