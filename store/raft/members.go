package raft

import (
	"context"
	"errors"
	"net"
	"time"
)

// Errors of membership; test with errors.Is.
var (
	// ErrNoMember means that the cluster has no such member.
	ErrNoMember = errors.New("raft: no such member")
	// ErrMemberExists means that the id or the address is another member's.
	ErrMemberExists = errors.New("raft: member exists already")
	// ErrNotCaughtUp means that a learner lags too far behind to be given a vote.
	ErrNotCaughtUp = errors.New("raft: the learner has not caught up yet")
	// ErrRemoved means that this node is not a member of its cluster any more.
	ErrRemoved = errors.New("raft: this node was removed from its cluster")
)

// Member is a node of a cluster.
type Member struct {
	ID, Address string
	// Learner tells that the member gets everything but has no vote.
	Learner bool
}

// Network is how members reach each other; all that they say goes over its connections.
type Network interface {
	// Listen opens the address of this member. Accepted connections come from members only.
	Listen(address string) (net.Listener, error)
	// Dial connects to another member; the connection is ready to use, with the peer's identity checked.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// Events are functions that a node calls when something happens; nil ones are not called. They must return
// quickly and may be called from several goroutines at once.
type Events struct {
	// Leader is told the new leader's id, empty when there is none.
	Leader func(id string)
	// Snapshot is told of a snapshot of this node: its size in bytes and how long it took.
	Snapshot func(bytes int64, took time.Duration, err error)
	// Members is told of a new list of members.
	Members func([]Member)
}

// Status is how a node stands.
type Status struct {
	ID, Leader string
	Leading    bool
	Learner    bool
	// Removed tells that the node was a member and is not any more.
	Removed bool
	Term    uint64
	// LastIndex, CommitIndex and AppliedIndex are positions in the log.
	LastIndex, CommitIndex, AppliedIndex uint64
	// LogBytes and SnapshotBytes are what the log and the newest snapshot take on the disk.
	LogBytes, SnapshotBytes int64
	Members                 []Member
}
