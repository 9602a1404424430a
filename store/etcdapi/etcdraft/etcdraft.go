// Package etcdraft lets the etcd API of a member of a replicated store tell of its cluster, and change it.
package etcdraft

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/raft"
)

// Cluster is a node's cluster as package etcdapi has it; use it as etcdapi.Config.Cluster.
func Cluster(n *raft.Node) etcdapi.Cluster { return cluster{n} }

type cluster struct{ node *raft.Node }

func (c cluster) Status() etcdapi.Status {
	s := c.node.Status()
	status := etcdapi.Status{
		Name: s.ID, Leader: s.Leader, Learner: s.Learner, Term: s.Term,
		CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex, Bytes: s.LogBytes + s.SnapshotBytes,
	}
	for _, m := range s.Members {
		status.Members = append(status.Members, etcdapi.Member{Name: m.ID, Address: m.Address, Learner: m.Learner})
	}
	return status
}

// Add adds a member that is often not started yet, as etcd's users do. It then stays a learner, which
// Promote makes a voter once it runs and has caught up.
func (c cluster) Add(ctx context.Context, m etcdapi.Member) error {
	err := c.node.AddMember(ctx, raft.Member{ID: m.Name, Address: m.Address, Learner: true})
	return status(err)
}

func (c cluster) Remove(ctx context.Context, name string) error {
	return status(c.node.RemoveMember(ctx, name))
}

// promotePatience is how long Promote waits for a learner that is about to catch up. etcd's clients wait for
// five seconds, and are to hear the reason.
const promotePatience = 2 * time.Second

func (c cluster) Promote(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, promotePatience)
	defer cancel()
	return status(c.node.PromoteMember(ctx, name))
}

func (c cluster) SetAddress(ctx context.Context, name, address string) error {
	return status(c.node.SetMemberAddress(ctx, name, address))
}

// Lead is refused by all but the leader, as etcd does.
func (c cluster) Lead(ctx context.Context, name string) error {
	if !c.node.Status().Leading {
		return rpctypes.ErrGRPCNotLeader
	}
	return status(c.node.TransferLeadership(ctx, name))
}

// status makes etcd's errors of a node's; others are the store's, which package etcdapi knows.
func status(err error) error {
	switch {
	case errors.Is(err, raft.ErrNoMember):
		return rpctypes.ErrGRPCMemberNotFound
	case errors.Is(err, raft.ErrMemberExists):
		return rpctypes.ErrGRPCMemberExist
	case errors.Is(err, raft.ErrNotCaughtUp):
		return rpctypes.ErrGRPCLearnerNotReady
	}
	return err
}
