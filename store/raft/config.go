package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
)

// Config configures a node; zero values mean defaults.
type Config struct {
	// Dir is the node's directory; it is made when it does not exist. Required. Nobody else may
	// write into it.
	Dir string
	// ID names the node among the voters; "node" by default. It must not change while Dir lives.
	ID string
	// Store configures the node's store.
	Store store.Config
	// SnapshotEntries and SnapshotBytes bound the log: when it has grown by as many entries or
	// bytes of commands since the last snapshot, a new one is made and the log is cut off. By
	// default 16,384 and 64 MiB.
	SnapshotEntries, SnapshotBytes int64
	// SegmentBytes is the size of the log's files, which are preallocated; by default 16 MiB.
	SegmentBytes int
	// Address is where the other members reach this one, and where Network listens.
	// A node without an address is its cluster's only member, for ever.
	Address string
	// Members are the voters that a new cluster begins with, this node among them; every one of them is
	// opened with the same list. A node that is to be added to a running cluster has none and waits for
	// Node.AddMember there. Members is only looked at when Dir is new.
	Members []Member
	// Network carries what the members tell each other; see TLS. Required when there is an Address.
	Network Network
	// ElectionTimeout is how long a follower waits for a leader's word before it stands for election;
	// by default one second. All members should have the same.
	ElectionTimeout time.Duration
	// Events are told what happens to the node.
	Events Events
	// Logger is told about trouble, and about elections and snapshots at debug level; nil discards.
	Logger *slog.Logger

	hooks hooks
}

// hooks let tests put faults between the node and what it stands on.
type hooks struct {
	transport func(innerTransport) innerTransport
	files     types.VFS // the log's; by default the disk's
	stable    func(raft.StableStore) raft.StableStore
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("raft: Config.Dir is empty; name the directory that the store is to live in")
	}
	if c.ID == "" {
		c.ID = "node"
	}
	if err := c.validateMembers(); err != nil {
		return c, err
	}
	if c.ElectionTimeout < 0 {
		return c, fmt.Errorf("raft: Config.ElectionTimeout is negative: %v", c.ElectionTimeout)
	}
	if c.ElectionTimeout == 0 {
		c.ElectionTimeout = time.Second
	}
	if c.hooks.files == nil {
		c.hooks.files = fs.New()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, f := range []struct {
		name  string
		value *int64
		def   int64
	}{
		{"SnapshotEntries", &c.SnapshotEntries, 16 << 10},
		{"SnapshotBytes", &c.SnapshotBytes, 64 << 20},
	} {
		if *f.value < 0 {
			return c, fmt.Errorf("raft: Config.%s is negative: %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 16 << 20
	}
	if c.SegmentBytes < 64<<10 {
		return c, fmt.Errorf("raft: Config.SegmentBytes is %d; the least is 65536", c.SegmentBytes)
	}
	return c, nil
}

// keepSnapshots is how many snapshots stay on the disk; the older one is for the case that the newest
// cannot be read.
const keepSnapshots = 2

// trailingLogs is how many entries stay in the log after a snapshot. Those of a cluster are for followers
// that lag a little, which would need the whole snapshot otherwise.
const (
	trailingLogs        = 256
	trailingLogsCluster = 512
)

// validateMembers checks what makes a node a member of a cluster.
func (c Config) validateMembers() error {
	if c.Address == "" {
		if len(c.Members) > 0 || c.Network != nil {
			return errors.New("raft: Config.Members and Config.Network need an Address at which the other members reach this one")
		}
		return nil
	}
	if c.Network == nil {
		return errors.New("raft: Config.Network is nil; TLS makes one")
	}
	own := false
	ids, addresses := map[string]bool{}, map[string]bool{}
	for _, m := range c.Members {
		switch {
		case m.ID == "" || m.Address == "":
			return fmt.Errorf("raft: Config.Members: %+v has no ID or no Address", m)
		case ids[m.ID] || addresses[m.Address]:
			return fmt.Errorf("raft: Config.Members: %s or %s is there twice", m.ID, m.Address)
		}
		ids[m.ID], addresses[m.Address] = true, true
		own = own || m.ID == c.ID
	}
	if len(c.Members) > 0 && !own {
		return fmt.Errorf("raft: Config.Members has no %q, this node's Config.ID", c.ID)
	}
	return nil
}

// alone tells that the node is its cluster's only member for ever.
func (c Config) alone() bool { return c.Address == "" }

// wayOut is what to do about a directory that has lost something.
func (c Config) wayOut() string {
	if c.alone() {
		return "restore the directory from a backup"
	}
	return "remove this member from its cluster and add it again with an empty directory and no Config.Members"
}

// patience is how long a call waits for a leader: for one to be missed, and two elections.
func (c Config) patience() time.Duration { return 5 * c.ElectionTimeout }

// peerTimeout bounds dialing another member, and writing to it.
func (c Config) peerTimeout() time.Duration { return max(2*c.ElectionTimeout, time.Second) }

func (c Config) raft(logger *logAdapter) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.Logger = logger
	rc.TrailingLogs = trailingLogs
	if !c.alone() {
		rc.TrailingLogs = trailingLogsCluster
		rc.HeartbeatTimeout, rc.ElectionTimeout = c.ElectionTimeout, c.ElectionTimeout
		rc.LeaderLeaseTimeout = c.ElectionTimeout / 2
		rc.CommitTimeout = max(c.ElectionTimeout/20, time.Millisecond)
	}
	// The node itself decides when to snapshot, by bytes as well as by entries.
	rc.SnapshotThreshold = 1 << 62
	rc.SnapshotInterval = 24 * time.Hour
	rc.NoLegacyTelemetry = true
	rc.NoSnapshotRestoreOnStart = true // see Node.restore
	rc.ShutdownOnRemove = false        // what is in the store can still be read
	return rc
}
