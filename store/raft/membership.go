package raft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// What a change of the members does.
const (
	changeAdd     = 1 // a learner
	changePromote = 2
	changeRemove  = 3
	changeAddress = 4
)

// catchUp is how many entries a learner may lack to be given a vote, and catchUpEvery how often it is asked.
const (
	catchUp      = 64
	catchUpEvery = 50 * time.Millisecond
)

// changeTimeout bounds how long a change waits to be taken into the log.
const changeTimeout = 10 * time.Second

// Members are the members of the newest configuration that this node knows.
func (n *Node) Members() []Member { return membersOf(n.raft.GetConfiguration().Configuration()) }

func membersOf(c raft.Configuration) []Member {
	members := make([]Member, 0, len(c.Servers))
	for _, s := range c.Servers {
		members = append(members, Member{ID: string(s.ID), Address: string(s.Address), Learner: s.Suffrage != raft.Voter})
	}
	return members
}

// AddMember adds a node that was opened with no Config.Members. It gets everything as a learner first, and a
// vote once it has caught up, unless m.Learner; AddMember returns then. When ctx ends before, the member
// stays a learner; PromoteMember goes on.
func (n *Node) AddMember(ctx context.Context, m Member) error {
	if err := n.changeMembers(ctx, changeAdd, m); err != nil || m.Learner {
		return err
	}
	return n.PromoteMember(ctx, m.ID)
}

// PromoteMember waits until a learner has caught up and gives it a vote.
func (n *Node) PromoteMember(ctx context.Context, id string) error {
	for {
		err := n.changeMembers(ctx, changePromote, Member{ID: id})
		if !errors.Is(err, ErrNotCaughtUp) {
			return err
		}
		select {
		case <-time.After(catchUpEvery):
		case <-n.ctx.Done():
			return errStopped
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// RemoveMember removes a member, which may be gone already, or this node itself.
func (n *Node) RemoveMember(ctx context.Context, id string) error {
	return n.changeMembers(ctx, changeRemove, Member{ID: id})
}

// SetMemberAddress changes where the others reach a member.
func (n *Node) SetMemberAddress(ctx context.Context, id, address string) error {
	return n.changeMembers(ctx, changeAddress, Member{ID: id, Address: address})
}

// changeMembers asks the leader for a change.
func (n *Node) changeMembers(ctx context.Context, what uint64, m Member) error {
	if n.cfg.alone() {
		return fmt.Errorf("%w: a node without Config.Address is alone", store.ErrInvalid)
	}
	if m.ID == "" {
		return fmt.Errorf("%w: a member without an ID", store.ErrInvalid)
	}
	return n.withLeader(ctx, func(ctx context.Context, l leader) error {
		if l.id == n.cfg.ID {
			return n.change(ctx, what, m)
		}
		_, err := n.peers.ask(ctx, l.id, l.address, kindChange, appendMember(new(fields).uint(what), m).b)
		return outcome(err)
	})
}

// outcome is what a caller is told of a question to the leader that is not answered.
func outcome(err error) error {
	switch {
	case errors.Is(err, errNotSent):
		return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	case errors.Is(err, errNoAnswer):
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	}
	return err
}

// change is the leader's side of changeMembers.
func (n *Node) change(ctx context.Context, what uint64, m Member) error {
	if n.leading.Load() == nil {
		return fmt.Errorf("%w: %s does not lead", store.ErrNoLeader, n.cfg.ID)
	}
	n.changes.Lock()
	defer n.changes.Unlock()
	configuration := n.raft.GetConfiguration()
	if err := configuration.Error(); err != nil {
		return raftError(err)
	}
	servers, index := configuration.Configuration().Servers, configuration.Index()
	if what == changeAdd {
		return n.addLearner(servers, m, index)
	}
	s, ok := serverOf(servers, m.ID)
	switch {
	case !ok && what == changeRemove:
		return fmt.Errorf("%w: %s", ErrNoMember, m.ID)
	case !ok:
		return fmt.Errorf("%w: %s", ErrNoMember, m.ID)
	case what == changePromote:
		if s.Suffrage == raft.Voter {
			return nil
		}
		if err := n.caughtUp(ctx, s); err != nil {
			return err
		}
		return raftError(n.await(n.raft.AddVoter(s.ID, s.Address, index, changeTimeout)))
	case what == changeRemove:
		return raftError(n.await(n.raft.RemoveServer(s.ID, index, changeTimeout)))
	case what == changeAddress && m.Address != "":
		add := n.raft.AddVoter
		if s.Suffrage != raft.Voter {
			add = n.raft.AddNonvoter
		}
		return raftError(n.await(add(s.ID, raft.ServerAddress(m.Address), index, changeTimeout)))
	}
	return fmt.Errorf("%w: unknown change %d of %+v", store.ErrInvalid, what, m)
}

func (n *Node) addLearner(servers []raft.Server, m Member, index uint64) error {
	if m.Address == "" {
		return fmt.Errorf("%w: member %s has no address", store.ErrInvalid, m.ID)
	}
	for _, s := range servers {
		same := string(s.ID) == m.ID && string(s.Address) == m.Address
		switch {
		case same && s.Suffrage != raft.Voter:
			return nil // an earlier call whose caller did not hear of it
		case string(s.ID) == m.ID || string(s.Address) == m.Address:
			return fmt.Errorf("%w: %s at %s", ErrMemberExists, s.ID, s.Address)
		}
	}
	return raftError(n.await(n.raft.AddNonvoter(raft.ServerID(m.ID), raft.ServerAddress(m.Address), index, changeTimeout)))
}

func serverOf(servers []raft.Server, id string) (raft.Server, bool) {
	for _, s := range servers {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// caughtUp asks a learner how far it is. A voter that lags could hold up all changes.
func (n *Node) caughtUp(ctx context.Context, s raft.Server) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.peerTimeout())
	defer cancel()
	body, err := n.peers.ask(ctx, string(s.ID), string(s.Address), kindStatus, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCaughtUp, err)
	}
	status, err := readStatus(body)
	if err != nil {
		return err
	}
	if last := n.raft.LastIndex(); status.AppliedIndex+catchUp < last {
		return fmt.Errorf("%w: %s has applied %d of %d entries", ErrNotCaughtUp, s.ID, status.AppliedIndex, last)
	}
	return nil
}

// raftError makes a store's error of one of raft's.
func raftError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	}
	return err
}

// TransferLeadership makes another member the leader: the one with the id, or, when that is empty, the one
// that has caught up most. It returns when the other leads as far as this node knows.
func (n *Node) TransferLeadership(ctx context.Context, id string) error {
	if n.cfg.alone() {
		return fmt.Errorf("%w: a node without Config.Address is alone", store.ErrInvalid)
	}
	before, _ := n.leaders.current()
	if id != "" && before.id == id {
		return nil
	}
	err := n.withLeader(ctx, func(ctx context.Context, l leader) error {
		if l.id == n.cfg.ID {
			return n.transferHere(id)
		}
		_, err := n.peers.ask(ctx, l.id, l.address, kindTransfer, new(fields).string(id).b)
		return outcome(err)
	})
	if err != nil {
		return err
	}
	for {
		now, changed := n.leaders.current()
		if now.id != "" && now.id != before.id {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, ctx.Err())
		case <-n.ctx.Done():
			return errStopped
		}
	}
}

// transferHere is the leader's side of TransferLeadership.
func (n *Node) transferHere(id string) error {
	if n.leading.Load() == nil {
		return fmt.Errorf("%w: %s does not lead", store.ErrNoLeader, n.cfg.ID)
	}
	if id == "" {
		return raftError(n.await(n.raft.LeadershipTransfer()))
	}
	s, ok := serverOf(n.raft.GetConfiguration().Configuration().Servers, id)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", ErrNoMember, id)
	case s.Suffrage != raft.Voter:
		return fmt.Errorf("%w: %s is a learner and cannot lead", store.ErrInvalid, id)
	case id == n.cfg.ID:
		return nil
	}
	return raftError(n.await(n.raft.LeadershipTransferToServer(s.ID, s.Address)))
}
