package raft

import (
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// What is noted about the log, outside of it, so that a log that is gone or lost its end is not taken for one
// that never was:
//   - the first entry of each of its files, when it is on the disk and before it is acknowledged,
//   - its last entry when the node opens and closes,
//   - that it is being replaced by a snapshot of the leader, before that snapshot is there and until the log goes
//     on behind it.

// reached notes that an entry is on the disk.
func (m *metaFile) reached(index uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index <= m.state.Last {
		return nil
	}
	return m.changeLocked(func(s *metaState) { s.Last = index })
}

// takesBack notes, before they are taken back, that the entries from first on may be missing.
func (m *metaFile) takesBack(first uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Last < first {
		return nil
	}
	return m.changeLocked(func(s *metaState) { s.Last = first - 1 })
}

// goesOn notes that entries were written.
func (m *metaFile) goesOn() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Installing == 0 {
		return nil
	}
	return m.changeLocked(func(s *metaState) { s.Installing = 0 })
}

func (m *metaFile) installs(index uint64) error {
	return m.change(func(s *metaState) { s.Installing = index })
}

// hadEntries tells whether the log ever had an entry.
func (m *metaFile) hadEntries() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Last > 0
}

// replacedBy tells whether the log may end before a snapshot does.
func (m *metaFile) replacedBy(snapshot uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Installing == snapshot || m.state.Installing == installingUnknown
}

// segmentFiles are the log's files; what is first synced in one is noted.
type segmentFiles struct {
	types.VFS
	meta *metaFile
}

type segmentFile struct {
	types.WritableFile
	meta *metaFile
	base uint64
}

func (s segmentFiles) wrap(name string, f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	var base, id uint64
	if _, err := fmt.Sscanf(name, "%020d-%016x.wal", &base, &id); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("name of the log's file %s: %w", name, err)
	}
	return segmentFile{f, s.meta, base}, nil
}

// Create implements types.VFS.
func (s segmentFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := s.VFS.Create(dir, name, size)
	return s.wrap(name, f, err)
}

// OpenWriter implements types.VFS.
func (s segmentFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := s.VFS.OpenWriter(dir, name)
	return s.wrap(name, f, err)
}

// Sync implements types.WritableFile. It ends each batch of entries, before they are acknowledged.
func (f segmentFile) Sync() error {
	if err := f.WritableFile.Sync(); err != nil {
		return err
	}
	return f.meta.reached(f.base)
}

// snapshotStore notes that a snapshot that did not come from this node's own state replaces the log.
type snapshotStore struct {
	*raft.FileSnapshotStore
	meta *metaFile
}

// Create implements raft.SnapshotStore.
func (s snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configured uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, c, configured, t)
	if err != nil {
		return nil, err
	}
	return &snapshotSink{SnapshotSink: sink, index: index, meta: s.meta}, nil
}

type snapshotSink struct {
	raft.SnapshotSink
	own   bool
	index uint64
	meta  *metaFile
}

// Close implements raft.SnapshotSink. The snapshot is there when it returns.
func (s *snapshotSink) Close() error {
	if !s.own {
		if err := s.meta.installs(s.index); err != nil {
			_ = s.Cancel()
			return err
		}
	}
	return s.SnapshotSink.Close()
}
