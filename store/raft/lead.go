package raft

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// lead makes the node its cluster's leader and waits until all of its log is applied.
func (n *Node) lead() error {
	leading := n.raft.LeaderCh()
	if err := n.elect(); err != nil {
		return fmt.Errorf("raft: elect: %w", err)
	}
	timeout := time.NewTimer(openTimeout)
	defer timeout.Stop()
	for led := false; !led; {
		select {
		case led = <-leading:
		case <-timeout.C:
			return fmt.Errorf("raft: the store in %s did not become its own leader in %s", n.cfg.Dir, openTimeout)
		}
	}
	if err := n.await(n.raft.Barrier(0)); err != nil {
		return fmt.Errorf("raft: apply the log in %s: %w", n.cfg.Dir, err)
	}
	if err := n.fsm.err(); err != nil {
		return fmt.Errorf("raft: apply the log in %s: %w", n.cfg.Dir, err)
	}
	n.leaders.set(leader{id: n.cfg.ID})
	n.takeLead()
	if n.leading.Load() == nil {
		return fmt.Errorf("raft: the store in %s does not lead itself", n.cfg.Dir)
	}
	return nil
}

// elect starts an election now. An only voter has no other leader to wait for, so it tells itself what
// a leader that hands over tells its successor, and saves the election timeout.
func (n *Node) elect() error {
	req := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
	var resp raft.TimeoutNowResponse
	return n.transport.TimeoutNow(raft.ServerID(n.cfg.ID), n.address, &req, &resp)
}

// handOver gives leadership to another member before this one closes, so that nobody has to miss it first. When that
// takes longer than to miss it, it is of no use.
func (n *Node) handOver() {
	if n.raft == nil || n.alone() || n.leading.Load() == nil {
		return
	}
	done := make(chan struct{})
	n.wg.Go(func() {
		_ = n.await(n.raft.LeadershipTransfer()) // it ends with raft at the latest
		close(done)
	})
	select {
	case <-done:
	case <-time.After(n.cfg.ElectionTimeout):
	}
}

// stopWhenFailed stops raft when its log failed: it would stand for election again and again. What is
// in the store can still be read.
func (n *Node) stopWhenFailed() {
	select {
	case <-n.stop:
	case <-n.log.failed:
		n.cfg.Logger.Error("the store takes no more changes", "error", n.log.failure())
		n.leading.Store(nil)
		_ = n.halt()
		n.replica.Lead(false)
	}
}

// snapshotWhenFull keeps the log bounded.
func (n *Node) snapshotWhenFull() {
	for {
		select {
		case <-n.stop:
			return
		case <-n.fsm.full:
		}
		n.boundLog()
		err := n.await(n.raft.Snapshot())
		if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
			n.cfg.Logger.Error("the store's snapshot failed; its log grows", "dir", n.cfg.Dir, "error", err)
		}
	}
}
