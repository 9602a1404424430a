package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// Restore makes cfg.Dir, which must not exist or be empty, a node's whose store begins with what is in a
// backup (see store.Store.Backup). A new cluster is restored by doing so for each of cfg.Members, with the
// same backup and the same list. The error is store.ErrCorrupt when the backup is damaged; cfg.Dir is then as
// it was.
func Restore(cfg Config, from io.Reader) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if !cfg.alone() && len(cfg.Members) == 0 {
		return errors.New("raft: Config.Members is empty; list the members that the restored cluster begins with")
	}
	list, err := os.ReadDir(cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("raft: restore: %w", err)
	}
	if len(list) > 0 {
		return fmt.Errorf("raft: restore: %s is not empty; choose another directory", cfg.Dir)
	}
	state, err := store.OpenBackup(cfg.Store, from)
	if err != nil {
		return fmt.Errorf("raft: restore: %w", err)
	}
	defer state.Close()
	parent := filepath.Dir(filepath.Clean(cfg.Dir))
	if err := makeDir(parent); err != nil {
		return fmt.Errorf("raft: restore: %w", err)
	}
	// Half of it in place would be opened as a store with nothing in it.
	building, err := os.MkdirTemp(parent, filepath.Base(cfg.Dir)+".restore-")
	if err != nil {
		return fmt.Errorf("raft: restore: %w", err)
	}
	defer os.RemoveAll(building)
	if err := restoreInto(cfg, building, state); err != nil {
		return fmt.Errorf("raft: restore: %w", err)
	}
	if err := os.Rename(building, cfg.Dir); err != nil {
		return fmt.Errorf("raft: restore: %w", err)
	}
	return syncDir(parent)
}

// restoreInto writes a new node: a log with the members in it, and a snapshot of that entry with the state.
func restoreInto(cfg Config, dir string, state *store.Store) (err error) {
	cfg.Dir = dir
	n := newNode(cfg)
	n.transport = newTransport(loopback(n.address), cfg.ElectionTimeout)
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.openFiles(); err != nil {
		return err
	}
	rc := cfg.raft(&logAdapter{to: cfg.Logger})
	if err := raft.BootstrapCluster(rc, &n.log, n.log.WAL, n.snapshots, n.transport, cfg.first()); err != nil {
		return err
	}
	const index, term = 1, 1 // of the entry that was just written
	sink, err := n.snapshots.FileSnapshotStore.Create(raft.SnapshotVersionMax, index, term, cfg.first(), index, n.transport)
	if err != nil {
		return err
	}
	_, err = sink.Write(binary.LittleEndian.AppendUint64(nil, index))
	if err == nil {
		_, err = state.Backup(context.Background(), sink)
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}
