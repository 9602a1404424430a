package raft

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// readPoint is what a replica must have applied to answer a linearizable read: everything up to index.
// The leader of term has committed the entry at commit, of its own term.
type readPoint struct{ index, commit, term uint64 }

// Confirm implements store.Proposer.
func (p proposer) Confirm(ctx context.Context) error {
	n := p.node
	if n.confirmed() {
		return nil
	}
	return n.withLeader(ctx, func(ctx context.Context, l leader) error {
		if l.id != n.cfg.ID {
			at, err := n.remoteReads.do(ctx)
			if err != nil {
				return notConfirmed(err)
			}
			return notConfirmed(n.applied.wait(ctx, at.index))
		}
		at, err := n.readIndex(ctx)
		if err != nil {
			return notConfirmed(err)
		}
		return notConfirmed(n.applied.wait(ctx, at.index))
	})
}

// notConfirmed makes ErrNoLeader of all that can go wrong, other than that the caller has given up.
func notConfirmed(err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrNoLeader), errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
}

// confirmed tells without asking anybody that this node has everything. An only voter knows, since nobody
// can lead without its vote: it leads in its own newest term, and has applied everything that is committed.
func (n *Node) confirmed() bool {
	lead := n.leading.Load()
	if lead == nil || n.raft.State() != raft.Leader {
		return false
	}
	commit := n.raft.CommitIndex()
	if !n.alone() && (n.applied.index.Load() < commit || !n.sole.Load()) {
		return false
	}
	return n.raft.CurrentTerm() == lead.term
}

// readIndex makes sure that this node leads, and tells what a reader must have applied.
func (n *Node) readIndex(ctx context.Context) (readPoint, error) { return n.reads.do(ctx) }

// verify is one round of readIndex. Raft's own VerifyLeader counts answers to messages that were sent before
// it was called, by members that may have elected another leader since. Here, the voters are asked for their
// term: one that has not gone beyond this leader's term when it answers has not voted for a later leader
// when it was asked.
func (n *Node) verify() (readPoint, error) {
	lead := n.leading.Load()
	if lead == nil {
		return readPoint{}, fmt.Errorf("%w: %s does not lead", store.ErrNoLeader, n.cfg.ID)
	}
	commit := n.raft.CommitIndex()
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != lead.term {
		return readPoint{}, fmt.Errorf("%w: %s does not lead any more", store.ErrNoLeader, n.cfg.ID)
	}
	if err := n.askVoters(lead.term); err != nil {
		return readPoint{}, err
	}
	if n.raft.CurrentTerm() != lead.term {
		return readPoint{}, fmt.Errorf("%w: %s does not lead any more", store.ErrNoLeader, n.cfg.ID)
	}
	return readPoint{index: n.visible(commit), commit: commit, term: lead.term}, nil
}

// askVoters returns when a majority of the voters, with this node, is of no later term.
func (n *Node) askVoters(term uint64) error {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.ElectionTimeout)
	defer cancel()
	voters, asked := 0, 0
	answers := make(chan error, 16)
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == n.cfg.ID {
			continue
		}
		asked++
		if !n.spawn(func() {
			err := n.askTerm(ctx, s, term)
			select {
			case answers <- err:
			case <-ctx.Done():
			}
		}) {
			return errStopped
		}
	}
	missing := voters/2 + 1 - (voters - asked)
	var last error
	for ; missing > 0 && asked > 0; asked-- {
		select {
		case err := <-answers:
			if err == nil {
				missing--
			} else {
				last = err
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: a majority does not answer", store.ErrNoLeader)
		}
	}
	if missing > 0 {
		return fmt.Errorf("%w: a majority does not follow: %w", store.ErrNoLeader, last)
	}
	return nil
}

// askTerm fails when another voter is of a later term, or does not answer.
func (n *Node) askTerm(ctx context.Context, s raft.Server, term uint64) error {
	body, err := n.peers.ask(ctx, string(s.ID), string(s.Address), kindTerm, nil)
	if err != nil {
		return err
	}
	r := fieldReader{b: body}
	theirs := r.uint()
	if err := r.end(); err != nil {
		return err
	}
	if theirs > term {
		return fmt.Errorf("raft: %s is in term %d, after %d", s.ID, theirs, term)
	}
	return nil
}

// visible is the last entry up to commit that state machines see, or a later one that this one has seen: raft
// never shows what it writes for itself, and a follower would wait for that in vain.
func (n *Node) visible(commit uint64) uint64 {
	applied := n.applied.index.Load()
	for index := commit; index > applied; index-- {
		var entry raft.Log
		if err := n.log.GetLog(index, &entry); err != nil {
			return n.applied.seen.Load() // in a snapshot, of what was applied
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			return index
		}
	}
	n.applied.raise(commit)
	return n.applied.seen.Load()
}

// askLeader is one round of what a follower needs for linearizable reads.
func (n *Node) askLeader() (readPoint, error) {
	l, _ := n.leaders.current()
	if l.id == "" {
		return readPoint{}, store.ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.patience())
	defer cancel()
	body, err := n.peers.ask(ctx, l.id, l.address, kindReadIndex, nil)
	if err != nil {
		return readPoint{}, err
	}
	r := fieldReader{b: body}
	at := readPoint{index: r.uint(), commit: r.uint(), term: r.uint()}
	if err := r.end(); err != nil {
		return readPoint{}, err
	}
	n.commits.learn(commit{term: at.term, leader: l.id, address: l.address, index: at.commit})
	return at, nil
}
