package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// LeaseInfo is a lease as it stands.
type LeaseInfo struct {
	ID LeaseID
	// TTL is what was granted, Remaining what is left of it: 0 when it has expired and is being revoked.
	TTL, Remaining time.Duration
	// Keys go when the lease does, in key order.
	Keys []string
}

// Grant makes a lease that expires when it is not kept alive for ttl, and returns its id; 0 chooses one. A
// ttl is rounded up to whole seconds, of which there is at least one and there are at most 9,000,000,000, as
// in etcd. It fails with ErrLeaseExists when the id is taken. For the other errors see Txn.
func (s *Store) Grant(ctx context.Context, id LeaseID, ttl time.Duration) (LeaseID, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if ttl > maxTTL {
		return 0, fmt.Errorf("%w: a lease for %v; the longest is %v", ErrInvalid, ttl, maxTTL)
	}
	q := request{kind: requestGrant, id: id, ttl: roundTTL(ttl)}
	for {
		if id == 0 {
			q.id = LeaseID(1 + rand.Int64N(1<<63-1))
		}
		_, err := s.change(ctx, q)
		switch {
		case err == nil:
			return q.id, nil
		case id != 0 || !errors.Is(err, ErrLeaseExists):
			return 0, err
		}
	}
}

// Revoke ends a lease: its keys are deleted, in one revision. It fails with ErrLeaseNotFound. For the other
// errors see Txn.
func (s *Store) Revoke(ctx context.Context, id LeaseID) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	_, err := s.change(ctx, request{kind: requestRevoke, id: id})
	return err
}

// KeepAlive renews a lease and returns the time that it has from now on. It fails with ErrLeaseNotFound, also
// when the lease has expired and its keys are still there: an expired lease cannot be renewed. With
// ErrNoLeader nobody can tell at the moment; try again.
func (s *Store) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if s.proposals != nil {
		return s.proposals.proposer.KeepAlive(ctx, id)
	}
	return s.lessor.keepAlive(id)
}

// Lease tells how a lease stands after all that anyone was told of before the call. It fails with
// ErrLeaseNotFound, and as Sync does.
func (s *Store) Lease(ctx context.Context, id LeaseID) (LeaseInfo, error) {
	if err := s.Sync(ctx); err != nil {
		return LeaseInfo{}, err
	}
	l := s.leases().get(id)
	if l == nil {
		return LeaseInfo{}, fmt.Errorf("%w: %d", ErrLeaseNotFound, id)
	}
	info := LeaseInfo{ID: id, TTL: l.ttl}
	var err error
	if s.proposals != nil {
		info.Remaining, err = s.proposals.proposer.Remaining(ctx, id)
	} else {
		info.Remaining, err = s.lessor.remaining(id)
	}
	if err != nil {
		return LeaseInfo{}, err
	}
	l.eachKey(func(key string) bool {
		info.Keys = append(info.Keys, key)
		return true
	})
	return info, nil
}

// Leases returns the ids of all leases, in order, after all that anyone was told of before the call. It fails
// as Sync does.
func (s *Store) Leases(ctx context.Context) ([]LeaseID, error) {
	if err := s.Sync(ctx); err != nil {
		return nil, err
	}
	var ids []LeaseID
	s.leases().each(func(l *lease) bool {
		ids = append(ids, l.id)
		return true
	})
	return ids, nil
}

func (s *Store) leases() leaseTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.leases
}

// Lead tells the replica whether it is the leader's, each time that this changes: the leader's one finds
// expired leases and revokes them. One that begins to lead gives every lease its whole time again. All that
// earlier leaders had in the log should be applied before.
func (r *Replica) Lead(leading bool) {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lessor.lead(leading, s.machine.leases)
}

// KeepAlive renews a lease here, for Proposer.KeepAlive; it fails with ErrNoLeader unless this is the
// leader's replica. The caller confirms afterwards that it still is, since a leader that does not know of
// its successor renews in vain, and asks again when a lease is not found that could have been granted by
// a command that was not applied here yet.
func (r *Replica) KeepAlive(id LeaseID) (time.Duration, error) { return r.store.lessor.keepAlive(id) }

// Remaining is the time that is left of a lease, for Proposer.Remaining; it fails with ErrNoLeader unless
// this is the leader's replica.
func (r *Replica) Remaining(id LeaseID) (time.Duration, error) { return r.store.lessor.remaining(id) }
