package raft_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

// The checks of the chaos tests must find what is wrong with a store that is. Each store here is broken in
// one way, now and then.

// broken is a store in memory behind some members that misbehave.
type broken struct {
	storetest.Store
	members int
	wrap    func(storetest.Store) storetest.Store
}

func (b broken) size() int                  { return b.members }
func (b broken) member(int) storetest.Store { return b.wrap(b.Store) }

// quiet swallows what a workload reports, and counts it.
type quiet struct {
	testing.TB
	mu     sync.Mutex
	errors []string
}

func (q *quiet) Errorf(format string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.errors = append(q.errors, fmt.Sprintf(format, args...))
}

func TestChaosCheck(t *testing.T) {
	for _, test := range []struct {
		name  string
		wrap  func(storetest.Store) storetest.Store
		finds bool // whether Porcupine has to find it; else another check does
		fine  bool
	}{
		{name: "fine", wrap: func(s storetest.Store) storetest.Store { return s }, fine: true},
		{name: "unknown outcomes", wrap: func(s storetest.Store) storetest.Store { return forgetful{s} }, fine: true},
		{name: "stale reads", wrap: func(s storetest.Store) storetest.Store { return staleReader{s} }, finds: true},
		{name: "lost writes", wrap: func(s storetest.Store) storetest.Store { return loser{s} }, finds: true},
		{name: "a failure that was none", wrap: func(s storetest.Store) storetest.Store { return liar{s} }, finds: true},
		{name: "a gap in watches", wrap: func(s storetest.Store) storetest.Store { return skipper{s} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := store.Open(store.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			q := &quiet{TB: t}
			w := startWorkload(q, broken{storetest.Local(s), 3, test.wrap}, 1, 4, 3)
			for w.calls.Load() < 1500 {
				time.Sleep(time.Millisecond)
			}
			w.finish()
			log := w.changes()
			w.history.checkWritten(q, log)
			w.checkStale(log)
			w.history.resolve(log)
			res, _, _ := w.history.check(w.first)
			if test.fine && (res != porcupine.Ok || len(q.errors) > 0) {
				t.Errorf("Porcupine: %s; %q", res, q.errors)
			}
			if test.finds && res != porcupine.Illegal {
				t.Errorf("Porcupine does not find it: %s", res)
			}
			if !test.fine && !test.finds && len(q.errors) == 0 {
				t.Error("nobody found it")
			}
		})
	}
}

// forgetful does what it is told and does not always say so, which is allowed.
type forgetful struct{ storetest.Store }

func (f forgetful) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	switch rand.IntN(10) {
	case 0:
		_, _ = f.Store.Txn(ctx, t)
		return store.TxnResult{}, store.ErrUnknownOutcome
	case 1:
		return store.TxnResult{}, store.ErrUnknownOutcome
	}
	return f.Store.Txn(ctx, t)
}

// staleReader reads the past where it was asked for the present.
type staleReader struct{ storetest.Store }

func (s staleReader) Range(ctx context.Context, r store.Range) (store.RangeResult, error) {
	res, err := s.Store.Range(ctx, r)
	if err == nil && r.Linearizable && rand.IntN(20) == 0 && res.Revision > 20 {
		r.Revision = res.Revision - 2
		return s.Store.Range(ctx, r)
	}
	return res, err
}

// loser acknowledges writes that it then does not do, as a store that does not sync its log. The last write
// it does: the watchers wait for that one.
type loser struct{ storetest.Store }

func (l loser) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	if len(t.If) == 0 && rand.IntN(50) == 0 && !bytes.HasPrefix(t.Then[0].Value, []byte(lastPrefix)) {
		r, err := l.Store.Range(ctx, store.Range{Key: "of no interest"})
		return store.TxnResult{Succeeded: true, Revision: r.Revision + 1}, err
	}
	return l.Store.Txn(ctx, t)
}

// liar says of writes that they did not happen.
type liar struct{ storetest.Store }

func (l liar) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	res, err := l.Store.Txn(ctx, t)
	if rand.IntN(50) == 0 {
		return store.TxnResult{}, store.ErrNoLeader
	}
	return res, err
}

// skipper leaves revisions out of watches.
type skipper struct{ storetest.Store }

func (s skipper) Watch(cfg store.WatchConfig) (storetest.Watcher, error) {
	w, err := s.Store.Watch(cfg)
	return skippingWatcher{w}, err
}

type skippingWatcher struct{ storetest.Watcher }

func (s skippingWatcher) Next(ctx context.Context) (store.Batch, error) {
	b, err := s.Watcher.Next(ctx)
	if err == nil && rand.IntN(100) == 0 {
		return s.Watcher.Next(ctx)
	}
	return b, err
}
