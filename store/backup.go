package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// BackupInfo tells what is in a backup.
type BackupInfo struct {
	Revision     int64
	Keys, Leases int
	// Bytes is the size of the backup.
	Bytes int64
}

// Backup writes the store's state, at the revision that it tells, while others go on reading and writing.
// Leases are in it, the history is not. It holds no more in memory than one value. On an error, which is
// w's or ctx's, what was written is of no use.
func (s *Store) Backup(ctx context.Context, w io.Writer) (BackupInfo, error) {
	if err := s.ready(ctx); err != nil {
		return BackupInfo{}, err
	}
	s.mu.Lock()
	state := Snapshot{machine: s.machine}
	s.mu.Unlock()
	info, err := state.write(ctx, w)
	if err != nil {
		return info, fmt.Errorf("store: backup: %w", err)
	}
	return info, nil
}

// VerifyBackup reads a whole backup and tells what is in it; the error is ErrCorrupt when it is damaged or
// cut off. It does what OpenBackup does, and takes as much memory: what it accepts can be opened. Zeros
// behind the backup are passed over, and so is the SHA-256 of all that, which etcdctl leaves at the end.
func VerifyBackup(from io.Reader) (BackupInfo, error) {
	_, info, err := readBackup(from)
	return info, err
}

// OpenBackup opens a store in memory with what is in a backup; see VerifyBackup. Leases have their whole
// time again.
func OpenBackup(cfg Config, from io.Reader) (*Store, error) {
	state, _, err := readBackup(from)
	if err != nil {
		return nil, err
	}
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore(state)
	s.lessor.serve(&s.machine)
	return s, nil
}

func readBackup(from io.Reader) (Snapshot, BackupInfo, error) {
	r := snapshotReader{r: bufio.NewReaderSize(from, snapshotBlock), digest: sha256.New()}
	state, err := r.snapshot()
	if err != nil {
		return Snapshot{}, BackupInfo{}, err
	}
	m := &state.machine
	info := BackupInfo{Revision: m.rev, Keys: m.tree.len(), Leases: m.leases.len(), Bytes: r.n}
	return state, info, r.padding()
}

// restore makes a snapshot's state and history the store's; s.mu is held.
func (s *Store) restore(state Snapshot) {
	s.machine = state.machine
	s.lessor.restored(s.machine.leases)
	s.history.reset(state.base)
	newest := state.base
	if n := len(state.records); n > 0 {
		newest = state.records[n-1]
		s.history.append(state.records)
	}
	s.current.Store(newest)
	s.watchers.announceReset(newest.rev)
}
