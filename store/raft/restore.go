package raft

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// restore reads the newest snapshot, or makes a new node. Raft could restore by itself, but falls back
// to an older snapshot when it cannot read the newest, and panics when it then misses log entries in
// between.
func (n *Node) restore() error {
	first, err := n.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("raft: read the log: %w", err)
	}
	last, err := n.log.LastIndex()
	if err != nil {
		return fmt.Errorf("raft: read the log: %w", err)
	}
	if err := n.sweep(func(name string) bool { return strings.HasSuffix(name, ".tmp") }); err != nil {
		return err
	}
	list, err := n.snapshots.List()
	if err != nil {
		return fmt.Errorf("raft: list the snapshots: %w", err)
	}
	if len(list) == 0 {
		if last == 0 {
			return n.begin()
		}
		list = []*raft.SnapshotMeta{{}}
	}
	newest := list[0]
	if !n.alone() && last < newest.Index {
		// The snapshot came from the leader, and the process ended before raft had removed the entries that it
		// replaces, or before the log went on. The log takes no gap. Raft notes the leader's term before it takes
		// a snapshot.
		term, err := n.log.GetUint64([]byte("CurrentTerm"))
		if err != nil || term < newest.Term || !n.log.meta.replacedBy(newest.Index) {
			return fmt.Errorf("%w: the log in %s has entries %d to %d of term %d, the newest snapshot ends with %d of term %d; %s",
				store.ErrCorrupt, n.cfg.Dir, first, last, term, newest.Index, newest.Term, n.cfg.wayOut())
		}
		if last > 0 {
			if err := n.log.DeleteRange(first, last); err != nil {
				return fmt.Errorf("raft: remove log entries that a snapshot replaces: %w", err)
			}
		}
		first, last = newest.Index+1, newest.Index
	}
	if first > newest.Index+1 || last < newest.Index {
		return fmt.Errorf("%w: the log in %s has entries %d to %d, the newest snapshot that can be read ends with %d; %s",
			store.ErrCorrupt, n.cfg.Dir, first, last, newest.Index, n.cfg.wayOut())
	}
	// Those before the snapshot are for followers that lag.
	if err := n.checkLog(max(first, 1), last); err != nil {
		return fmt.Errorf("%w: the log in %s: %w; %s", store.ErrCorrupt, n.cfg.Dir, err, n.cfg.wayOut())
	}
	if newest.Index == 0 {
		return nil
	}
	_, from, err := n.snapshots.Open(newest.ID)
	if err != nil {
		return fmt.Errorf("%w: snapshot %s in %s: %w; %s", store.ErrCorrupt, newest.ID, n.cfg.Dir, err, n.cfg.wayOut())
	}
	n.snapshotBytes.Store(newest.Size)
	if err := n.fsm.Restore(from); err != nil {
		return fmt.Errorf("raft: restore snapshot %s in %s: %w; %s", newest.ID, n.cfg.Dir, err, n.cfg.wayOut())
	}
	return n.sweep(func(name string) bool {
		return !slices.ContainsFunc(list, func(s *raft.SnapshotMeta) bool { return s.ID == name })
	})
}

// sweep removes what a crash left of snapshots that were being written or removed.
func (n *Node) sweep(remains func(name string) bool) error {
	dir := filepath.Join(n.cfg.Dir, "snapshots")
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("raft: list the snapshots: %w", err)
	}
	for _, d := range list {
		if !remains(d.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, d.Name())); err != nil {
			return fmt.Errorf("raft: remove what is left of a snapshot: %w", err)
		}
	}
	return nil
}

// checkLog reads the entries that raft is going to read: raft panics where it meets a bad one. Commands
// have checksums of their own, looked at when they are applied.
func (n *Node) checkLog(from, to uint64) (err error) {
	current, err := n.log.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return err
	}
	index := from
	defer func() { // the decoders of the log and of the configuration panic as well
		if p := recover(); p != nil {
			err = fmt.Errorf("entry %d: %v", index, p)
		}
	}()
	term := uint64(0)
	for ; index <= to; index++ {
		var entry raft.Log
		switch err := n.log.GetLog(index, &entry); {
		case err != nil:
			return fmt.Errorf("entry %d: %w", index, err)
		case entry.Index != index:
			return fmt.Errorf("entry %d says that it is %d", index, entry.Index)
		case entry.Term < term || entry.Term > current:
			return fmt.Errorf("entry %d is of term %d, after %d and before %d", index, entry.Term, term, current)
		case entry.Type > raft.LogConfiguration:
			return fmt.Errorf("entry %d has the unknown type %d", index, entry.Type)
		case entry.Type == raft.LogConfiguration:
			raft.DecodeConfiguration(entry.Data)
		}
		term = entry.Term
	}
	return nil
}

// begin makes a new node: the only voter of a new cluster, one of its first voters, or one that waits to be
// added to a cluster.
func (n *Node) begin() error {
	// A vote comes after the log's first entry, unless the node waits to be added.
	voted, err := n.log.GetUint64([]byte("LastVoteTerm"))
	if err != nil {
		return fmt.Errorf("raft: read the vote: %w", err)
	}
	if n.log.meta.hadEntries() || voted != 0 && (n.alone() || len(n.cfg.Members) > 0) {
		return fmt.Errorf("%w: the log in %s is empty, but once had entries; %s", store.ErrCorrupt, n.cfg.Dir, n.cfg.wayOut())
	}
	if !n.alone() && len(n.cfg.Members) == 0 {
		return nil
	}
	// Raft notes the term before the configuration. A node that ended in between has a term but no
	// cluster that it could ever have voted in: it starts over.
	if err := n.log.SetUint64([]byte("CurrentTerm"), 0); err != nil {
		return fmt.Errorf("raft: reset the term: %w", err)
	}
	rc := n.cfg.raft(&logAdapter{to: n.cfg.Logger})
	if err := raft.BootstrapCluster(rc, &n.log, n.log.WAL, n.snapshots, n.transport, n.cfg.first()); err != nil {
		return fmt.Errorf("raft: bootstrap: %w", err)
	}
	return nil
}

// first is the configuration that a new cluster begins with, in the same order for all its members.
func (c Config) first() raft.Configuration {
	if c.alone() {
		return raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(c.ID), Address: raft.ServerAddress(c.ID)}}}
	}
	var first raft.Configuration
	for _, m := range c.Members {
		s := raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)}
		if m.Learner {
			s.Suffrage = raft.Nonvoter
		}
		first.Servers = append(first.Servers, s)
	}
	slices.SortFunc(first.Servers, func(a, b raft.Server) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return first
}
