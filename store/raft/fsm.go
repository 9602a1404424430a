package raft

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// fsm hands raft's committed entries to the replica, and asks for a snapshot when the log has grown.
type fsm struct {
	replica *store.Replica
	logger  *slog.Logger
	// applied and commands are told what was applied, configured of each configuration.
	applied    *progress
	commands   *commands
	configured func(raft.Configuration)
	snapshot   func(bytes int64, took time.Duration, err error)
	// moved has a token when something was applied.
	moved chan struct{}
	// full has a token when it is time for a snapshot.
	full chan struct{}
	// maxEntries and maxBytes are what may be in the log since the last snapshot.
	maxEntries, maxBytes int64
	entries, bytes       atomic.Int64
	trailing             trailing

	failed atomic.Pointer[error]
}

var (
	_ raft.BatchingFSM        = (*fsm)(nil)
	_ raft.ConfigurationStore = (*fsm)(nil)
)

// Apply returns the entry's term.
func (f *fsm) Apply(l *raft.Log) any {
	f.trailing.add(len(l.Data))
	switch l.Type {
	case raft.LogConfiguration:
		f.StoreConfiguration(l.Index, raft.DecodeConfiguration(l.Data))
		return nil
	case raft.LogCommand:
		f.apply(l)
	}
	f.applied.reached(l.Index)
	select {
	case f.moved <- struct{}{}:
	default:
	}
	return l.Term
}

func (f *fsm) apply(l *raft.Log) {
	err := f.replica.Apply(l.Data)
	if err != nil && f.failed.CompareAndSwap(nil, &err) {
		// To go on would make this replica differ from the others.
		f.logger.Error("the store cannot read its log and stops", "index", l.Index, "error", err)
		_ = f.replica.Store().Close()
	}
	if err == nil {
		f.commands.applied(l.Data)
	}
	entries, bytes := f.entries.Add(1), f.bytes.Add(int64(len(l.Data)))
	if entries >= f.maxEntries || bytes >= f.maxBytes {
		select {
		case f.full <- struct{}{}:
		default:
		}
	}
}

func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	terms := make([]any, len(logs))
	for i, l := range logs {
		terms[i] = f.Apply(l)
	}
	return terms
}

// StoreConfiguration implements raft.ConfigurationStore.
func (f *fsm) StoreConfiguration(index uint64, c raft.Configuration) {
	f.configured(c)
	f.applied.reached(index)
}

func (f *fsm) err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	f.entries.Store(0)
	f.bytes.Store(0)
	return fsmSnapshot{index: f.applied.seen.Load(), state: f.replica.Snapshot(), told: f.snapshot}, nil
}

// A snapshot of a node is the index of the last entry in it, in 8 bytes, and the store's snapshot. Raft does
// not tell a state machine that it restores how far that is.
const snapshotIndexBytes = 8

func (f *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	var index [snapshotIndexBytes]byte
	if _, err := io.ReadFull(from, index[:]); err != nil {
		return fmt.Errorf("%w: a snapshot without an index: %w", store.ErrCorrupt, err)
	}
	if err := f.replica.Restore(from); err != nil {
		return err
	}
	f.applied.reached(binary.LittleEndian.Uint64(index[:]))
	return nil
}

type fsmSnapshot struct {
	index uint64
	state store.Snapshot
	told  func(bytes int64, took time.Duration, err error)
}

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	begun := time.Now()
	if sink, ok := sink.(*snapshotSink); ok {
		sink.own = true
	}
	bytes, err := s.write(sink)
	if err != nil {
		_ = sink.Cancel()
	} else {
		err = sink.Close()
	}
	s.told(bytes, time.Since(begun), err)
	return err
}

func (s fsmSnapshot) write(w io.Writer) (int64, error) {
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, s.index)); err != nil {
		return 0, err
	}
	n, err := s.state.WriteTo(w)
	return n + snapshotIndexBytes, err
}

func (s fsmSnapshot) Release() {}
