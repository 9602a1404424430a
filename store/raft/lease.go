package raft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inboard/inboard/store"
)

// KeepAlive implements store.Proposer.
func (p proposer) KeepAlive(ctx context.Context, id store.LeaseID) (time.Duration, error) {
	return p.node.askLease(ctx, kindKeepAlive, id)
}

// Remaining implements store.Proposer.
func (p proposer) Remaining(ctx context.Context, id store.LeaseID) (time.Duration, error) {
	return p.node.askLease(ctx, kindRemaining, id)
}

// askLease asks the leader about a lease. To ask twice does no harm.
func (n *Node) askLease(ctx context.Context, kind byte, id store.LeaseID) (left time.Duration, err error) {
	err = n.withLeader(ctx, func(ctx context.Context, l leader) error {
		if l.id == n.cfg.ID {
			left, err = n.lease(ctx, kind, id)
			return err
		}
		body, err := n.peers.ask(ctx, l.id, l.address, kind, new(fields).int(int64(id)).b)
		if errors.Is(err, errNotSent) || errors.Is(err, errNoAnswer) {
			return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
		}
		if err != nil {
			return err
		}
		r := fieldReader{b: body}
		left = time.Duration(r.int())
		return r.end()
	})
	return left, err
}

// lease is the leader's side of askLease. A leader that does not know of its successor would renew in vain,
// so it makes sure afterwards that it still leads.
func (n *Node) lease(ctx context.Context, kind byte, id store.LeaseID) (time.Duration, error) {
	ask := n.replica.KeepAlive
	if kind == kindRemaining {
		ask = n.replica.Remaining
	}
	left, err := ask(id)
	if err != nil && !errors.Is(err, store.ErrLeaseNotFound) {
		return 0, err
	}
	if !n.confirmed() {
		at, failed := n.readIndex(ctx)
		if failed == nil {
			failed = n.applied.wait(ctx, at.index)
		}
		if failed != nil {
			return 0, notConfirmed(failed)
		}
	}
	if err != nil { // it may have been granted by what was applied meanwhile
		return ask(id)
	}
	return left, nil
}
