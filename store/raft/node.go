// Package raft makes a store durable and replicated on hashicorp/raft and its write-ahead log: a
// change is acknowledged when it is on the disk. For now a node is its cluster's only voter.
package raft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/inboard/inboard/store"
)

// Node is an open node of a replicated store.
type Node struct {
	cfg       Config
	lock      *os.File
	log       guardedLog
	logMeta   logMeta // the log's; it does not close it itself
	snapshots *raft.FileSnapshotStore
	transport *raft.InmemTransport
	address   raft.ServerAddress
	raft      *raft.Raft
	fsm       *fsm
	proposer  proposer
	replica   *store.Replica

	stop  chan struct{}
	wg    sync.WaitGroup
	once  sync.Once
	close error
}

// openTimeout is how long Open waits to lead; reading a large snapshot is not part of it.
const openTimeout = 30 * time.Second

// Open opens the node in cfg.Dir, a new one when there is none, and returns when everything that was
// acknowledged is readable and changes are taken. It fails with store.ErrLocked when the directory is
// open already, and with an error that names what cannot be read when something is damaged.
func Open(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, stop: make(chan struct{}), address: raft.ServerAddress(cfg.ID)}
	for _, step := range []func() error{n.openFiles, n.openStore, n.restore, n.start, n.lead} {
		if err := step(); err != nil {
			_ = n.Close()
			return nil, err
		}
	}
	return n, nil
}

// Store is the node's store.
func (n *Node) Store() *store.Store { return n.replica.Store() }

// Close stops the node and lets go of its directory. The store is closed; changes that were on their
// way end with store.ErrUnknownOutcome.
func (n *Node) Close() error {
	n.once.Do(func() { n.close = n.shutdown() })
	return n.close
}

func (n *Node) shutdown() error {
	var errs []error
	close(n.stop)
	if n.replica != nil {
		errs = append(errs, n.replica.Store().Close())
	}
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
	}
	if n.replica != nil {
		errs = append(errs, n.replica.Close())
	}
	n.wg.Wait()
	if n.log.WAL != nil {
		errs = append(errs, n.log.Close())
	}
	errs = append(errs, n.logMeta.Close())
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// openFiles takes the directory and opens the log and the snapshots in it.
func (n *Node) openFiles() (err error) {
	logDir := filepath.Join(n.cfg.Dir, "log")
	if err := makeDir(logDir); err != nil {
		return fmt.Errorf("raft: make the store's directory: %w", err)
	}
	if n.lock, err = lockDir(n.cfg.Dir); err != nil {
		return err
	}
	logger := &logAdapter{to: n.cfg.Logger}
	n.log.dir, n.log.failed = logDir, make(chan struct{})
	// The log starts new files in the background and tells only its logger when that fails.
	walLogger := &logAdapter{to: n.cfg.Logger, failed: n.log.fail}
	n.log.WAL, err = wal.Open(logDir, wal.WithLogger(walLogger), wal.WithSegmentSize(n.cfg.SegmentBytes), wal.WithMetaStore(&n.logMeta))
	if err != nil {
		return fmt.Errorf("raft: open the log in %s: %w", logDir, err)
	}
	n.snapshots, err = raft.NewFileSnapshotStoreWithLogger(n.cfg.Dir, keepSnapshots, logger)
	if err != nil {
		return fmt.Errorf("raft: open the snapshots in %s: %w", n.cfg.Dir, err)
	}
	return syncDir(n.cfg.Dir)
}

func (n *Node) openStore() error {
	replica, err := store.OpenReplica(n.cfg.Store, &n.proposer)
	if err != nil {
		return err
	}
	n.replica = replica
	n.fsm = &fsm{
		replica: replica, logger: n.cfg.Logger, full: make(chan struct{}, 1),
		maxEntries: n.cfg.SnapshotEntries, maxBytes: n.cfg.SnapshotBytes,
	}
	_, n.transport = raft.NewInmemTransport(n.address)
	n.transport.Connect(n.address, n.transport)
	return nil
}

// start starts raft on what was restored.
func (n *Node) start() error {
	rc := n.cfg.raft(&logAdapter{to: n.cfg.Logger})
	r, err := raft.NewRaft(rc, n.fsm, &n.log, n.log.WAL, n.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("raft: open the store in %s: %w", n.cfg.Dir, err)
	}
	n.raft = r
	n.proposer.raft, n.proposer.log = r, &n.log
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if string(s.ID) == n.cfg.ID {
			return nil
		}
	}
	return fmt.Errorf("raft: the store in %s has no voter %q; set Config.ID to what it was made with", n.cfg.Dir, n.cfg.ID)
}
