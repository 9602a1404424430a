package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
)

// Revisions go when they are too old, whether the store is used or not, and no later.
func TestHistoryAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Config{HistoryAge: time.Minute})
		w, err := s.Watch(store.WatchConfig{Key: "k", Revision: 2})
		if err != nil {
			t.Fatal(err)
		}
		check := func(at time.Duration, oldest int64) {
			t.Helper()
			synctest.Wait()
			if stats := s.Stats(); stats.OldestRevision != oldest {
				t.Errorf("after %v, the oldest revision is %d, want %d", at, stats.OldestRevision, oldest)
			}
		}
		start := time.Now()
		for range 2 { // revisions 2, 3, 4 at 0, 20 and 40 s
			put(t, s, "k", "v")
			time.Sleep(20 * time.Second)
		}
		put(t, s, "k", "v")
		time.Sleep(20*time.Second - time.Millisecond)
		check(time.Since(start), 1)
		time.Sleep(time.Millisecond)
		check(time.Since(start), 2)
		time.Sleep(20 * time.Second)
		check(time.Since(start), 3)
		time.Sleep(time.Hour)
		check(time.Since(start), 4)
		if stats := s.Stats(); stats.HistoryBytes != 0 {
			t.Errorf("%d bytes of history are left", stats.HistoryBytes)
		}
		if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("the watcher was told %v", err)
		}
		if e, _, err := s.Get(t.Context(), "k"); err != nil || e == nil || e.Version != 3 {
			t.Errorf("the state is %v, %v", e, err)
		}
		put(t, s, "k", "v") // and again
		time.Sleep(time.Minute)
		check(time.Since(start), 5)
		put(t, s, "k", "v")
		if err := s.Close(); err != nil { // the bubble ends only without goroutines and timers
			t.Fatal(err)
		}
	})
	if _, err := store.Open(store.Config{HistoryAge: -1}); err == nil {
		t.Error("a negative age")
	}
}

// confirmLog is a log that counts, and may refuse, confirmations.
type confirmLog struct {
	testLog
	confirmed int
	refuse    error
}

func (l *confirmLog) Confirm(context.Context) error {
	l.confirmed++
	return l.refuse
}

// Only linearizable reads ask the log, and they fail when it does not know.
func TestLinearizableReadsAsk(t *testing.T) {
	log := &confirmLog{}
	r, err := store.OpenReplica(store.Config{}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log.replica = r
	s := r.Store()
	get := store.Txn{Then: []store.Op{store.OpGet("k")}}
	for _, c := range []struct {
		name string
		asks int
		call func() error
	}{
		{"get", 0, func() error { _, _, err := s.Get(t.Context(), "k"); return err }},
		{"serializable", 0, func() error { _, err := s.Range(t.Context(), store.Range{Key: "k"}); return err }},
		{"linearizable", 1, func() error { _, err := s.Range(t.Context(), store.Range{Key: "k", Linearizable: true}); return err }},
		{"transaction", 1, func() error { _, err := s.Txn(t.Context(), get); return err }},
		{"sync", 1, func() error { return s.Sync(t.Context()) }},
	} {
		log.confirmed, log.refuse = 0, nil
		if err := c.call(); err != nil || log.confirmed != c.asks {
			t.Errorf("%s: asked %d times, %v", c.name, log.confirmed, err)
		}
		log.refuse = store.ErrNoLeader
		if err := c.call(); errors.Is(err, store.ErrNoLeader) != (c.asks > 0) {
			t.Errorf("%s: told %v", c.name, err)
		}
	}
}

// A thousand stores leave nothing, however they were used.
func TestNothingIsLeft(t *testing.T) {
	for range 1000 {
		log := &testLog{}
		r, err := store.OpenReplica(store.Config{HistoryAge: time.Hour}, log)
		if err != nil {
			t.Fatal(err)
		}
		log.replica = r
		if _, err := r.Store().Watch(store.WatchConfig{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		put(t, r.Store(), "k", "v")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t)
}
