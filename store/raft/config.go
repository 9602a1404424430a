package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

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
	// Address is where the other members reach this one, and where Network listens unless Listener is set.
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
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("raft: Config.Dir is empty; name the directory that the store is to live in")
	}
	if c.ID == "" {
		c.ID = "node"
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

// trailingLogs is how many entries stay in the log after a snapshot.
const trailingLogs = 256

func (c Config) raft(logger *logAdapter) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.Logger = logger
	rc.TrailingLogs = trailingLogs
	// The node itself decides when to snapshot, by bytes as well as by entries.
	rc.SnapshotThreshold = 1 << 62
	rc.SnapshotInterval = 24 * time.Hour
	rc.NoLegacyTelemetry = true
	rc.NoSnapshotRestoreOnStart = true // see Node.restore
	return rc
}
