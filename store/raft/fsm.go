package raft

import (
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// fsm hands raft's committed entries to the replica, and asks for a snapshot when the log has grown.
type fsm struct {
	replica *store.Replica
	logger  *slog.Logger
	// full has a token when it is time for a snapshot.
	full chan struct{}
	// maxEntries and maxBytes are what may be in the log since the last snapshot.
	maxEntries, maxBytes int64
	entries, bytes       atomic.Int64

	failed atomic.Pointer[error]
}

var _ raft.BatchingFSM = (*fsm)(nil)

func (f *fsm) Apply(l *raft.Log) any {
	if l.Type != raft.LogCommand {
		return nil
	}
	if err := f.replica.Apply(l.Data); err != nil && f.failed.CompareAndSwap(nil, &err) {
		// To go on would make this replica differ from the others.
		f.logger.Error("the store cannot read its log and stops", "index", l.Index, "error", err)
		_ = f.replica.Store().Close()
	}
	entries, bytes := f.entries.Add(1), f.bytes.Add(int64(len(l.Data)))
	if entries >= f.maxEntries || bytes >= f.maxBytes {
		select {
		case f.full <- struct{}{}:
		default:
		}
	}
	return nil
}

func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	for _, l := range logs {
		f.Apply(l)
	}
	return make([]any, len(logs))
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
	return fsmSnapshot{f.replica.Snapshot()}, nil
}

func (f *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	return f.replica.Restore(from)
}

type fsmSnapshot struct{ state store.Snapshot }

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.state.WriteTo(sink); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s fsmSnapshot) Release() {}
