// Package raft makes a store durable and replicated on hashicorp/raft and its write-ahead log: a change is
// acknowledged when it is on the disks of a majority of the voters. A node is alone, or one of a cluster's
// members, each of which takes reads and writes.
package raft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
)

// Node is an open node of a replicated store.
type Node struct {
	cfg       Config
	lock      *os.File
	log       guardedLog
	logMeta   logMeta
	snapshots snapshotStore
	mux       *mux // nil when the node is alone
	peers     *peers
	transport *transport
	address   raft.ServerAddress
	raft      *raft.Raft
	fsm       *fsm
	replica   *store.Replica

	leaders       *leaders
	leading       atomic.Pointer[leadership] // nil unless this node leads
	applied       progress
	commands      commands
	forwards      forwards
	commits       commits
	reads         rounds[readPoint] // of the leader, for everybody
	remoteReads   rounds[readPoint] // of a follower
	changes       sync.Mutex        // one change of the members at a time
	sole          atomic.Bool       // the only voter is this node, and there are no other members
	member        atomic.Bool       // was or is a member
	removed       atomic.Bool
	snapshotBytes atomic.Int64

	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	stop   <-chan struct{}
	// stopped is closed when raft has stopped, by Close or for a failure.
	stopped chan struct{}
	// halted is closed when raft has stopped and gives no more answers.
	halted   chan struct{}
	haltOnce sync.Once
	wg       sync.WaitGroup
	spawnMu  sync.Mutex // between spawn and Close
	once     sync.Once
	close    error
}

// openTimeout is how long Open waits to lead; reading a large snapshot is not part of it.
const openTimeout = 30 * time.Second

// Open opens the node in cfg.Dir, a new one when there is none. It fails with store.ErrLocked when the
// directory is open already, and with an error that names what cannot be read when something is damaged.
//
// A node that is alone returns when everything that was acknowledged is readable and changes are taken. A
// member of a cluster returns when it takes part, without waiting for the others: see Ready.
func Open(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := newNode(cfg)
	steps := []func() error{n.openFiles, n.openStore, n.listen, n.restore, n.start}
	if cfg.alone() {
		steps = append(steps, n.lead)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			_ = n.Close()
			return nil, err
		}
	}
	n.wg.Go(n.stopWhenFailed)
	n.wg.Go(n.snapshotWhenFull)
	return n, nil
}

func newNode(cfg Config) *Node {
	n := &Node{cfg: cfg, leaders: newLeaders(), stopped: make(chan struct{}), halted: make(chan struct{}), address: raft.ServerAddress(cfg.Address)}
	if cfg.alone() {
		n.address = raft.ServerAddress(cfg.ID)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.stop = n.ctx.Done()
	n.commits.wake = make(chan struct{}, 1)
	n.reads = rounds[readPoint]{run: n.verify, spawn: n.spawn}
	n.remoteReads = rounds[readPoint]{run: n.askLeader, spawn: n.spawn}
	return n
}

// Store is the node's store.
func (n *Node) Store() *store.Store { return n.replica.Store() }

func (n *Node) alone() bool { return n.cfg.alone() }

// spawn starts a goroutine that Close waits for; false when it is too late for that.
func (n *Node) spawn(f func()) bool {
	n.spawnMu.Lock()
	defer n.spawnMu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.wg.Go(f)
	return true
}

// Close stops the node and lets go of its directory. A leader hands over first, for which it takes an election timeout
// at most. The store is closed; changes that were on their
// way end with store.ErrUnknownOutcome.
func (n *Node) Close() error {
	n.once.Do(func() { n.close = n.shutdown() })
	return n.close
}

func (n *Node) shutdown() error {
	var errs []error
	n.handOver()
	n.spawnMu.Lock()
	n.cancel()
	n.spawnMu.Unlock()
	if n.replica != nil {
		errs = append(errs, n.replica.Store().Close())
	}
	if n.mux != nil {
		errs = append(errs, n.mux.hangUp())
	}
	if n.raft != nil {
		errs = append(errs, n.halt())
	}
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	close(n.stopped)
	if n.replica != nil {
		errs = append(errs, n.replica.Close())
	}
	if n.mux != nil {
		n.mux.wait()
	}
	n.wg.Wait()
	if n.log.WAL != nil {
		n.noteEnd()
		errs = append(errs, n.log.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// noteEnd notes how far the log goes, so that a loss of its end while the node is closed is noticed.
func (n *Node) noteEnd() {
	if n.log.failure() != nil {
		return
	}
	if err := n.log.meta.reached(n.log.last.Load()); err != nil {
		n.cfg.Logger.Warn("the end of the log could not be noted", "dir", n.cfg.Dir, "error", err)
	}
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
	n.log.dir, n.log.failed, n.log.meta = logDir, make(chan struct{}), &n.logMeta.metaFile
	n.logMeta.path, n.logMeta.wayOut = filepath.Join(n.cfg.Dir, metaName), n.cfg.wayOut()
	// The log starts new files in the background and tells only its logger when that fails.
	walLogger := &logAdapter{to: n.cfg.Logger, failed: n.log.fail}
	n.log.WAL, err = wal.Open(logDir, wal.WithLogger(walLogger), wal.WithSegmentSize(n.cfg.SegmentBytes), wal.WithMetaStore(&n.logMeta),
		wal.WithSegmentFiler(segment.NewFiler(logDir, segmentFiles{n.cfg.hooks.files, n.log.meta})))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, types.ErrCorrupt):
		return fmt.Errorf("raft: open the log in %s: %w: %w; %s", logDir, store.ErrCorrupt, err, n.cfg.wayOut())
	case err != nil:
		return fmt.Errorf("raft: open the log in %s: %w", logDir, err)
	}
	// Raft-wal syncs the name of a file that it makes, but not that of one that a process before it made
	// and did not come to write to.
	if err := syncDir(logDir); err != nil {
		return err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.Dir, keepSnapshots, logger)
	if err != nil {
		return fmt.Errorf("raft: open the snapshots in %s: %w", n.cfg.Dir, err)
	}
	n.snapshots = snapshotStore{snapshots, n.log.meta}
	return syncDir(n.cfg.Dir)
}

func (n *Node) openStore() error {
	replica, err := store.OpenReplica(n.cfg.Store, proposer{n})
	if err != nil {
		return err
	}
	n.replica = replica
	n.fsm = &fsm{
		replica: replica, logger: n.cfg.Logger, full: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		applied: &n.applied, commands: &n.commands, configured: n.configured, snapshot: n.toldSnapshot,
		maxEntries: n.cfg.SnapshotEntries, maxBytes: n.cfg.SnapshotBytes,
	}
	return nil
}

func (n *Node) toldSnapshot(bytes int64, took time.Duration, err error) {
	if err == nil {
		n.snapshotBytes.Store(bytes)
	}
	if n.cfg.Events.Snapshot != nil {
		n.cfg.Events.Snapshot(bytes, took, err)
	}
}

// listen opens the node's address, and what goes over it.
func (n *Node) listen() error {
	var inner innerTransport
	if n.alone() {
		inner = loopback(n.address)
	} else {
		var err error
		if n.mux, err = listen(n.cfg.Network, n.cfg.Address, n.serve); err != nil {
			return err
		}
		n.peers = newPeers(n.mux, n.cfg.ID, n.cfg.peerTimeout())
		inner = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: n.mux, MaxPool: 3, Timeout: 5 * n.cfg.peerTimeout(), Logger: &logAdapter{to: n.cfg.Logger},
		})
	}
	if n.cfg.hooks.transport != nil {
		inner = n.cfg.hooks.transport(inner)
	}
	n.transport = newTransport(inner, n.cfg.ElectionTimeout/4)
	return nil
}

// loopback is the transport of a node that only talks to itself.
func loopback(address raft.ServerAddress) innerTransport {
	_, memory := raft.NewInmemTransport(address)
	memory.Connect(address, memory)
	return memory
}

// start starts raft on what was restored.
func (n *Node) start() error {
	last, err := n.log.LastIndex()
	if err != nil {
		return fmt.Errorf("raft: read the log: %w", err)
	}
	if err := n.log.meta.reached(last); err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	n.log.last.Store(last)
	n.log.grown = n.commits.check
	rc := n.cfg.raft(&logAdapter{to: n.cfg.Logger})
	stable := raft.StableStore(n.log.WAL)
	if n.cfg.hooks.stable != nil {
		stable = n.cfg.hooks.stable(stable)
	}
	r, err := raft.NewRaft(rc, n.fsm, &n.log, guardedStable{stable, n.log.fail}, n.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("raft: open the store in %s: %w", n.cfg.Dir, err)
	}
	n.raft = r
	if !n.alone() {
		return n.join()
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if string(s.ID) == n.cfg.ID {
			return nil
		}
	}
	return fmt.Errorf("raft: the store in %s has no voter %q; set Config.ID to what it was made with", n.cfg.Dir, n.cfg.ID)
}

// join begins to take part in the cluster.
func (n *Node) join() error {
	servers := n.raft.GetConfiguration().Configuration().Servers
	s, member := serverOf(servers, n.cfg.ID)
	switch {
	case member && string(s.Address) != n.cfg.Address && len(servers) == 1:
		return fmt.Errorf("raft: the only member in %s is at %s; set Config.Address to that", n.cfg.Dir, s.Address)
	case member:
		n.member.Store(true)
	case len(servers) > 0:
		// A member that was removed does not know it when it was away.
		n.cfg.Logger.Warn("this node is not among the members that it knows", "id", n.cfg.ID, "dir", n.cfg.Dir)
	}
	news := make(chan raft.Observation, 16)
	observer := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	n.wg.Go(func() { n.followLeader(news, observer) })
	n.wg.Go(n.followLeadership)
	n.wg.Go(n.followCommits)
	n.wg.Go(n.tellCommits)
	n.mux.start()
	return nil
}
