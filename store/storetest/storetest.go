// Package storetest is what every store must pass, however its changes get to it and however it is
// spoken to: in this process, through a cluster's members, or over a wire. What etcd does is right; the
// same suite runs against it. Only tests import this package.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// Store is what the suite needs of a store, with the meaning that *store.Store gives it. Errors are
// package store's, found by errors.Is. Three things may be missing, because etcd's protocol does not
// tell them: OpResult.Entries of a put, CompactedError.Oldest of a Range (a bare ErrCompacted will do), and
// an error of Watch, which may also come from the first Next.
type Store interface {
	Txn(ctx context.Context, t store.Txn) (store.TxnResult, error)
	Range(ctx context.Context, r store.Range) (store.RangeResult, error)
	Watch(cfg store.WatchConfig) (Watcher, error)
	Compact(ctx context.Context, rev int64) error
	Grant(ctx context.Context, id store.LeaseID, ttl time.Duration) (store.LeaseID, error)
	Revoke(ctx context.Context, id store.LeaseID) error
	KeepAlive(ctx context.Context, id store.LeaseID) (time.Duration, error)
	Lease(ctx context.Context, id store.LeaseID) (store.LeaseInfo, error)
	Leases(ctx context.Context) ([]store.LeaseID, error)
	Sync(ctx context.Context) error
}

// Watcher is what the suite needs of a watcher; *store.Watcher is one.
type Watcher interface {
	// Next returns all that one transaction changed in the watched range.
	Next(ctx context.Context) (store.Batch, error)
	// Progress is a revision up to which Next has returned everything. It may lag, but when it is asked
	// again and again, with a Next that finds nothing in between, it comes to the store's revision.
	Progress() int64
	Close()
}

// Local is a store of this process as a Store. For what Local returns, Run has some more tests.
func Local(s *store.Store) Store { return local{s} }

type local struct{ *store.Store }

func (l local) Watch(cfg store.WatchConfig) (Watcher, error) {
	w, err := l.Store.Watch(cfg)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Opener opens an empty store with the default configuration and sees to it that it is closed at the
// end of the test.
type Opener func(t *testing.T) Store

// Run runs the whole suite, each test on a store of its own.
func Run(t *testing.T, open Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"Model", testModel},
		{"Linearizable", testLinearizable},
		{"WatchIsComplete", testWatchIsComplete},
		{"WatchWaits", testWatchWaits},
		{"WatchOfTheFuture", testWatchOfTheFuture},
		{"ReadsAreNotTorn", testReadsAreNotTorn},
		{"Compaction", testCompaction},
		{"Contexts", testContexts},
		{"BadRequests", testBadRequests},
		{"LeasesExpire", testLeasesExpire},
		{"OnlyHere", testLocal(open)},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(ctx context.Context, s Store, key, value string) (int64, error) {
	res, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
	return res.Revision, err
}

func mustPut(t *testing.T, s Store, key, value string) int64 {
	t.Helper()
	rev, err := put(t.Context(), s, key, value)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// get reads a key as everybody was told of it.
func get(ctx context.Context, s Store, key string) (*store.Entry, int64, error) {
	r, err := s.Range(ctx, store.Range{Key: key, Linearizable: true})
	if err != nil || len(r.Entries) == 0 {
		return nil, r.Revision, err
	}
	return r.Entries[0], r.Revision, nil
}

func revision(t testing.TB, s Store) int64 {
	t.Helper()
	_, rev, err := get(t.Context(), s, "of no interest")
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func mustWatch(t *testing.T, s Store, cfg store.WatchConfig) Watcher {
	t.Helper()
	w, err := s.Watch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}
