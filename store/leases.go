package store

import (
	"context"
	"time"
)

// LeaseInfo is a lease as it stands.
type LeaseInfo struct {
	ID LeaseID
	// TTL is what was granted, Remaining what is left of it.
	TTL, Remaining time.Duration
	// Keys go when the lease does, in key order.
	Keys []string
}

// Grant makes a lease that expires when it is not kept alive for ttl; id 0 chooses an id. It fails with
// ErrLeaseExists when the id is taken.
func (s *Store) Grant(ctx context.Context, id LeaseID, ttl time.Duration) (LeaseID, error) {
	return 0, ErrInvalid
}

// Revoke ends a lease: its keys are deleted in one revision. It fails with ErrLeaseNotFound.
func (s *Store) Revoke(ctx context.Context, id LeaseID) error { return ErrInvalid }

// KeepAlive renews a lease and returns the time that it has from now on. It fails with ErrLeaseNotFound.
func (s *Store) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	return 0, ErrInvalid
}

// Lease tells how a lease stands. It fails with ErrLeaseNotFound.
func (s *Store) Lease(ctx context.Context, id LeaseID) (LeaseInfo, error) {
	return LeaseInfo{}, ErrInvalid
}

// Leases returns the ids of all leases, in order.
func (s *Store) Leases(ctx context.Context) ([]LeaseID, error) { return nil, ErrInvalid }

// Lead tells the replica whether it is the leader's: the leader's one finds expired leases and revokes
// them. One that begins to lead gives every lease its whole time again.
func (r *Replica) Lead(leading bool) {}

// KeepAlive renews a lease here, for Proposer.KeepAlive; it fails with ErrNoLeader unless this is the
// leader's replica.
func (r *Replica) KeepAlive(id LeaseID) (time.Duration, error) { return 0, ErrInvalid }

// Remaining is the time that is left of a lease, for Proposer.Remaining; it fails with ErrNoLeader unless
// this is the leader's replica.
func (r *Replica) Remaining(id LeaseID) (time.Duration, error) { return 0, ErrInvalid }
