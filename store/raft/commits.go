package raft

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// commit tells that a leader has committed an entry of its own term.
type commit struct {
	term            uint64
	leader, address string
	index           uint64
}

// commits brings a follower's commit index up to what the leader told. Raft tells followers only with the
// next entries, or after its commit timeout, while somebody waits here to see a change applied.
type commits struct {
	wake chan struct{}

	mu     sync.Mutex
	newest commit
}

// learn notes what a leader told.
func (c *commits) learn(told commit) {
	c.mu.Lock()
	newer := told.term > c.newest.term || (told.term == c.newest.term && told.index > c.newest.index)
	if newer {
		c.newest = told
	}
	c.mu.Unlock()
	if newer {
		c.check()
	}
}

// check looks again, after learn or when the log has grown.
func (c *commits) check() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *commits) get() commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// followCommits gives raft, as a message from the leader without entries, what the leader told.
func (n *Node) followCommits() {
	for {
		select {
		case <-n.stop:
			return
		case <-n.commits.wake:
		}
		told := n.commits.get()
		if told.index <= n.raft.CommitIndex() || told.term != n.raft.CurrentTerm() || n.raft.State() != raft.Follower {
			continue
		}
		if n.log.last.Load() < told.index {
			continue // checked again when the log grows
		}
		n.transport.send(&raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{
				ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(told.leader), Addr: []byte(told.address),
			},
			Term:         told.term,
			PrevLogEntry: told.index, PrevLogTerm: told.term, LeaderCommitIndex: told.index,
		})
	}
}

// tellCommits tells the followers what is committed when nothing follows that would tell them.
func (n *Node) tellCommits() {
	told := map[raft.ServerID]uint64{}
	busy := map[raft.ServerID]bool{}
	free := make(chan raft.ServerID)
	for {
		select {
		case <-n.stop:
			return
		case id := <-free:
			delete(busy, id)
		case <-n.fsm.moved:
		}
		lead := n.leading.Load()
		if lead == nil {
			continue
		}
		index := n.raft.CommitIndex()
		if index < lead.since || n.raft.CurrentTerm() != lead.term || n.raft.LastIndex() > index {
			continue
		}
		c := commit{term: lead.term, leader: n.cfg.ID, address: n.cfg.Address, index: index}
		for _, s := range n.raft.GetConfiguration().Configuration().Servers {
			if string(s.ID) == n.cfg.ID || busy[s.ID] || told[s.ID] >= index {
				continue
			}
			busy[s.ID], told[s.ID] = true, index
			n.spawn(func() {
				n.tellCommit(s, c)
				select {
				case free <- s.ID:
				case <-n.stop:
				}
			})
		}
	}
}

// tellCommit tells one follower. That it may be lost does no harm: raft tells it as well, later.
func (n *Node) tellCommit(s raft.Server, c commit) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.peerTimeout())
	defer cancel()
	body := new(fields).uint(c.term).string(c.leader).string(c.address).uint(c.index)
	_, _ = n.peers.ask(ctx, string(s.ID), string(s.Address), kindCommitted, body.b)
}
