package raft

import (
	"sync"

	"github.com/hashicorp/raft"
)

// leader is who leads the cluster as far as this node knows; the zero value is nobody.
type leader struct{ id, address string }

// leaders tells who leads, and when that changes.
type leaders struct {
	mu      sync.Mutex
	now     leader
	changed chan struct{} // closed when now is not true any more
}

func newLeaders() *leaders { return &leaders{changed: make(chan struct{})} }

// current returns the leader, and a channel that is closed when another one leads or nobody does.
func (l *leaders) current() (leader, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed
}

// set notes who leads and tells whether that is news.
func (l *leaders) set(now leader) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == now {
		return false
	}
	l.now = now
	close(l.changed)
	l.changed = make(chan struct{})
	return true
}

// leadership is this node's own: it has applied everything up to since, an entry of its term.
type leadership struct{ term, since uint64 }

// followLeader keeps leaders up to date.
func (n *Node) followLeader(news chan raft.Observation, observer *raft.Observer) {
	defer n.raft.DeregisterObserver(observer)
	for {
		address, id := n.raft.LeaderWithID()
		if n.leaders.set(leader{string(id), string(address)}) && n.cfg.Events.Leader != nil {
			n.cfg.Events.Leader(string(id))
		}
		select {
		case <-n.stop:
			return
		case <-news:
		}
	}
}

// followLeadership makes the replica the leader's when this node leads, and an ordinary one when it does not.
func (n *Node) followLeadership() {
	for {
		select {
		case <-n.stop:
			return
		case leads := <-n.raft.LeaderCh():
			n.leading.Store(nil)
			n.replica.Lead(false)
			if leads {
				n.takeLead()
			}
		}
	}
}

// takeLead begins to lead once everything that earlier leaders may have acknowledged is applied: up to an
// entry of this leader's own term, which the barrier is.
func (n *Node) takeLead() {
	term := n.raft.CurrentTerm()
	barrier := n.raft.Barrier(0)
	if err := n.await(barrier); err != nil {
		n.cfg.Logger.Debug("leadership was lost before it began", "error", err)
		return
	}
	since, ok := barrier.(raft.IndexFuture)
	if !ok || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return
	}
	n.leading.Store(&leadership{term: term, since: since.Index()})
	n.replica.Lead(true)
}
