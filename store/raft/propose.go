package raft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// proposer is the cluster's log as the store's Proposer.
type proposer struct{ node *Node }

var _ store.Proposer = proposer{}

// leaderRetry is how long a call waits before it asks again for the leader that it knows but that does not
// take it, such as one that is just about to lead.
const leaderRetry = 20 * time.Millisecond

// position is where a command is in the log.
type position struct{ index, term uint64 }

// Propose implements store.Proposer. It ends when the entry was applied or raft stops. When there is no
// leader, it waits for one, for a few election timeouts.
func (p proposer) Propose(ctx context.Context, command []byte) error {
	n := p.node
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.alone() {
		_, err := n.applyHere(command)
		return err
	}
	applied, err := n.commands.expect(command)
	if err != nil {
		return err
	}
	defer applied.forget()
	err = n.withLeader(ctx, func(ctx context.Context, l leader) error {
		if l.id == n.cfg.ID {
			_, err := n.applyHere(command)
			return err
		}
		return n.forward(ctx, l, command)
	})
	if errors.Is(err, store.ErrUnknownOutcome) && applied.within(n.ctx, n.cfg.ElectionTimeout) {
		return nil
	}
	return err
}

// withLeader calls f with the leader, again when f says that there is none, and for as long as the
// configuration allows.
func (n *Node) withLeader(ctx context.Context, f func(context.Context, leader) error) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.patience())
	defer cancel()
	for {
		// What is forwarded is awaited here, where nothing is applied any more when the log has failed.
		if failure := n.log.failure(); failure != nil {
			return fmt.Errorf("%w: %w", store.ErrNoLeader, failure)
		}
		l, changed := n.leaders.current()
		err := error(store.ErrNoLeader)
		if l.id != "" {
			err = f(ctx, l)
		}
		if err == nil || !errors.Is(err, store.ErrNoLeader) {
			return err
		}
		if failure := n.log.failure(); failure != nil {
			return fmt.Errorf("%w: %w", store.ErrNoLeader, failure)
		}
		if n.removed.Load() {
			return fmt.Errorf("%w: %w", store.ErrNoLeader, ErrRemoved)
		}
		var retry <-chan time.Time
		if l.id != "" {
			retry = time.After(leaderRetry)
		}
		select {
		case <-changed:
		case <-retry:
		case <-n.stopped:
			return fmt.Errorf("%w: this node has stopped", store.ErrNoLeader)
		case <-ctx.Done():
			return err
		}
	}
}

// applyHere gives a command to this node's raft and waits until it is applied.
func (n *Node) applyHere(command []byte) (position, error) {
	if err := n.log.failure(); err != nil {
		return position{}, fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	}
	future := n.raft.Apply(command, 0)
	err := n.await(future)
	if err == nil {
		term, _ := future.Response().(uint64)
		return position{future.Index(), term}, nil
	}
	if failure := n.log.failure(); failure != nil {
		return position{}, fmt.Errorf("%w: %w", store.ErrUnknownOutcome, failure)
	}
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return position{}, fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	}
	// Raft does not tell how far the entry came: it may be on the disk, and be applied later.
	return position{}, fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
}

// forward gives a command to the leader and waits until it is applied here.
func (n *Node) forward(ctx context.Context, l leader, command []byte) error {
	if len(command) > maxFrameBytes {
		return fmt.Errorf("%w: a command of %d bytes; another member takes %d", store.ErrTooLarge, len(command), maxFrameBytes)
	}
	body, err := n.peers.ask(ctx, l.id, l.address, kindPropose, command)
	switch {
	case errors.Is(err, errNotSent):
		return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	case errors.Is(err, errNoAnswer), errors.Is(err, errRemote):
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	case err != nil:
		return err
	}
	r := fieldReader{b: body}
	at := position{index: r.uint(), term: r.uint()}
	if err := r.end(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	}
	n.commits.learn(commit{term: at.term, leader: l.id, address: l.address, index: at.index})
	if err := n.applied.wait(ctx, at.index); err != nil {
		return fmt.Errorf("%w: the leader has it, but it did not come back: %w", store.ErrUnknownOutcome, err)
	}
	return nil
}

// forwarded is the leader's side of forward. A command that comes twice is given to raft once.
func (n *Node) forwarded(command []byte) (position, error) {
	id, ok := store.CommandID(command)
	if !ok {
		return position{}, fmt.Errorf("%w: not a command", store.ErrInvalid)
	}
	f, first := n.forwards.begin(id)
	if !first {
		select {
		case <-f.done:
			return f.at, f.err
		case <-n.ctx.Done():
			return position{}, store.ErrUnknownOutcome
		}
	}
	f.at, f.err = n.applyHere(command)
	if errors.Is(f.err, store.ErrNoLeader) {
		n.forwards.forget(id) // nothing happened, so it may come again
	}
	close(f.done)
	return f.at, f.err
}
