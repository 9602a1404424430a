package storetest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/inboard/inboard/store"
)

// Spread makes one store of a cluster's members: each call goes to the next one. It holds what the suite
// expects of a store only if writes to any member are seen by linearizable reads of any other.
func Spread(members ...Store) Store { return &spread{members: members} }

type spread struct {
	members []Store
	calls   atomic.Uint64
}

func (s *spread) next() Store { return s.members[s.calls.Add(1)%uint64(len(s.members))] }

func (s *spread) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	return s.next().Txn(ctx, t)
}

func (s *spread) Range(ctx context.Context, r store.Range) (store.RangeResult, error) {
	return s.next().Range(ctx, r)
}

// Watch first waits for what there is, since the next revision of a member that lags is an old one.
func (s *spread) Watch(cfg store.WatchConfig) (Watcher, error) {
	m := s.next()
	if err := m.Sync(context.Background()); err != nil {
		return nil, err
	}
	return m.Watch(cfg)
}

func (s *spread) Compact(ctx context.Context, rev int64) error { return s.next().Compact(ctx, rev) }

func (s *spread) Grant(ctx context.Context, id store.LeaseID, ttl time.Duration) (store.LeaseID, error) {
	return s.next().Grant(ctx, id, ttl)
}

func (s *spread) Revoke(ctx context.Context, id store.LeaseID) error { return s.next().Revoke(ctx, id) }

func (s *spread) KeepAlive(ctx context.Context, id store.LeaseID) (time.Duration, error) {
	return s.next().KeepAlive(ctx, id)
}

// Lease and Leases are reads without a choice of how: they wait for what there is.
func (s *spread) Lease(ctx context.Context, id store.LeaseID) (store.LeaseInfo, error) {
	m := s.next()
	if err := m.Sync(ctx); err != nil {
		return store.LeaseInfo{}, err
	}
	return m.Lease(ctx, id)
}

func (s *spread) Leases(ctx context.Context) ([]store.LeaseID, error) {
	m := s.next()
	if err := m.Sync(ctx); err != nil {
		return nil, err
	}
	return m.Leases(ctx)
}

func (s *spread) Sync(ctx context.Context) error { return s.next().Sync(ctx) }
