package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

func TestStats(t *testing.T) {
	s := open(t, store.Config{})
	grant(t, s, 7, time.Hour)
	putLeased(t, s, "leased", 7) // 7 bytes
	put(t, s, "k", "four")       // 5
	put(t, s, "k", "seven..")    // 8 instead
	put(t, s, "gone", "x")
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpDelete("gone")}}); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []store.WatchConfig{{Key: "k", Revision: 2}, {Key: "l", End: "m"}, {Key: "a", End: "z"}, {Key: "none"}} {
		w, err := s.Watch(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
	st := s.Stats()
	if st.Keys != 2 || st.Leases != 1 || st.Bytes != 15 || st.Watchers != 4 || st.SlowWatchers != 0 || st.HistoryBytes == 0 || st.Revision != 6 || st.OldestRevision != 1 {
		t.Errorf("%+v", st)
	}
	for range 1000 {
		put(t, s, "k", "seven..")
	}
	if st := s.Stats(); st.Bytes != 15 || st.SlowWatchers != 1 {
		t.Errorf("%+v", st) // a to z has seen nothing since 7, 999 revisions ago
	}
	if err := s.Revoke(t.Context(), 7); err != nil || s.Stats().Bytes != 8 {
		t.Error(s.Stats(), err)
	}
}

func TestEvents(t *testing.T) {
	var b strings.Builder
	log := &testLog{}
	r, err := store.OpenReplica(store.Config{Events: store.Events{
		Applied:  func(n int, rev int64, took time.Duration) { fmt.Fprintln(&b, "applied", n, rev, took >= 0) },
		Proposed: func(n, bytes int, _ time.Duration, err error) { fmt.Fprintln(&b, "proposed", n, bytes > 20, err) },
		Compacted: func(oldest int64) {
			fmt.Fprintln(&b, "compacted", oldest)
		},
		WatcherCutOff: func(key, end string) { fmt.Fprintln(&b, "cut off", key, end) },
	}}, log)
	if err != nil {
		t.Fatal(err)
	}
	log.replica = r
	w, err := r.Store().Watch(store.WatchConfig{Key: "k", End: "l"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, r.Store(), "k", "v")
	put(t, r.Store(), "k", "v")
	if err := r.Store().Compact(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // all that was proposed has been told of
		t.Fatal(err)
	}
	want := "applied 1 2 true\nproposed 1 true <nil>\napplied 1 3 true\nproposed 1 true <nil>\n" +
		"compacted 3\napplied 1 3 true\nproposed 1 true <nil>\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
	_ = w
}

func TestWatcherCutOffEvent(t *testing.T) {
	var told []string
	s := open(t, store.Config{HistoryRevisions: 1, Events: store.Events{
		WatcherCutOff: func(key, end string) { told = append(told, key+" "+end) },
	}})
	w, err := s.Watch(store.WatchConfig{Key: "k", End: "l"})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		put(t, s, "k", "v")
	}
	for range 2 {
		if _, err := w.Next(t.Context()); err == nil {
			t.Error("no error")
		}
	}
	if len(told) != 1 || told[0] != "k l" {
		t.Error(told)
	}
}
