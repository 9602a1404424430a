package raft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// Status tells how the node stands. It asks nobody.
func (n *Node) Status() Status {
	l, _ := n.leaders.current()
	s := Status{
		ID: n.cfg.ID, Leader: l.id, Leading: n.leading.Load() != nil, Removed: n.removed.Load(),
		Term: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(),
		AppliedIndex: max(n.raft.AppliedIndex(), n.applied.index.Load()),
		LogBytes:     sizeOf(filepath.Join(n.cfg.Dir, "log")), SnapshotBytes: n.snapshotBytes.Load(),
		Members: n.Members(),
	}
	for _, m := range s.Members {
		if m.ID == s.ID {
			s.Learner = m.Learner
		}
	}
	return s
}

// sizeOf is what the files of a directory take.
func sizeOf(dir string) int64 {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	total := int64(0)
	for _, d := range list {
		if info, err := d.Info(); err == nil || !errors.Is(err, fs.ErrNotExist) {
			total += info.Size()
		}
	}
	return total
}

func appendMember(f *fields, m Member) *fields {
	return f.string(m.ID).string(m.Address).bool(m.Learner)
}

func readMember(r *fieldReader) Member {
	return Member{ID: r.string(), Address: r.string(), Learner: r.bool()}
}

// appendStatus writes what the leader asks a learner for.
func appendStatus(f *fields, s Status) *fields {
	return f.string(s.ID).uint(s.Term).uint(s.LastIndex).uint(s.CommitIndex).uint(s.AppliedIndex)
}

func readStatus(body []byte) (Status, error) {
	r := fieldReader{b: body}
	s := Status{ID: r.string(), Term: r.uint(), LastIndex: r.uint(), CommitIndex: r.uint(), AppliedIndex: r.uint()}
	return s, r.end()
}

// Ready returns when the node knows a leader and has applied all that the cluster had acknowledged before:
// a majority of the voters is there. A node that is not a member yet is ready once it has been added.
func (n *Node) Ready(ctx context.Context) error {
	for {
		err := proposer{n}.Confirm(ctx)
		if err == nil || !errors.Is(err, store.ErrNoLeader) || n.removed.Load() {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-n.ctx.Done():
			return errStopped
		case <-time.After(leaderRetry):
		}
	}
}

// configured follows the cluster's configuration as it is committed.
func (n *Node) configured(c raft.Configuration) {
	members := membersOf(c)
	own, voters := false, 0
	for _, m := range members {
		if m.ID == n.cfg.ID {
			own = true
			n.member.Store(true)
		}
		if !m.Learner {
			voters++
		}
	}
	sole := len(members) == 1 && own && voters == 1
	n.sole.Store(sole)
	if removed := !own && n.member.Load(); n.removed.Swap(removed) != removed && removed {
		n.cfg.Logger.Warn("this node was removed from its cluster", "id", n.cfg.ID)
	}
	if n.cfg.Events.Members != nil {
		n.cfg.Events.Members(members)
	}
}
