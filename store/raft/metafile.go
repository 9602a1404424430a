package raft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
)

// metaName is the file beside the log and the snapshots that says what must be in them.
const metaName = "meta"

// metaState is what is in it.
type metaState struct {
	types.PersistentState // the log's files
	// Stable has raft's term and vote.
	Stable map[string][]byte
	// Last is an entry that the log had, on the disk, and did not take back. It has more, but not fewer.
	Last uint64
	// Installing is the last entry of a snapshot of the leader that replaces the log; 0 when the log goes on.
	Installing uint64
}

// installingUnknown is for directories of versions that did not note it.
const installingUnknown = ^uint64(0)

// metaFile keeps a metaState in a file with a checksum, which is replaced as a whole.
type metaFile struct {
	path  string
	mu    sync.Mutex
	state metaState
}

// change writes a state with changes in it.
func (m *metaFile) change(f func(*metaState)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changeLocked(f)
}

func (m *metaFile) changeLocked(f func(*metaState)) error {
	next := m.state
	next.Stable = maps.Clone(m.state.Stable)
	f(&next)
	b, err := encodeMeta(next)
	if err == nil {
		err = replaceFile(m.path, b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", m.path, err)
	}
	m.state = next
	return nil
}

const metaHeader = "crc32c %08x\n"

func encodeMeta(s metaState) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, metaHeader, crc32.Checksum(body, castagnoli)), body...), nil
}

func decodeMeta(b []byte) (metaState, error) {
	var s metaState
	head, body, _ := bytes.Cut(b, []byte("\n"))
	if !bytes.Equal(append(head, '\n'), fmt.Appendf(nil, metaHeader, crc32.Checksum(body, castagnoli))) {
		return s, errors.New("wrong checksum")
	}
	return s, json.Unmarshal(body, &s)
}

// replaceFile replaces a file by another one at one moment, also when the power fails.
func replaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// read reads the file. There is none when the node is new; there must be one when there is a log.
func (m *metaFile) read(logDir string) error {
	b, err := os.ReadFile(m.path)
	old := filepath.Join(logDir, metadb.FileName)
	switch {
	case err == nil:
		if m.state, err = decodeMeta(b); err != nil {
			return fmt.Errorf("%w: %s: %w", store.ErrCorrupt, m.path, err)
		}
		return removeFile(old)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Stat(old); err == nil {
		return m.takeOver(logDir)
	}
	files, err := filepath.Glob(filepath.Join(logDir, "*.wal"))
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%w: there is a log in %s, but %s is gone", store.ErrCorrupt, logDir, m.path)
	}
	return err
}

// takeOver reads what versions before noted in the log's directory.
func (m *metaFile) takeOver(logDir string) error {
	var bolt metadb.BoltMetaDB
	state, err := bolt.Load(logDir)
	if err != nil {
		return err
	}
	stable := map[string][]byte{}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		value, err := bolt.GetStable([]byte(key))
		if err != nil {
			return errors.Join(err, bolt.Close())
		}
		if value != nil {
			stable[key] = value
		}
	}
	if err := bolt.Close(); err != nil {
		return err
	}
	err = m.change(func(s *metaState) {
		*s = metaState{PersistentState: state, Stable: stable, Installing: installingUnknown}
	})
	if err != nil {
		return err
	}
	return removeFile(filepath.Join(logDir, metadb.FileName))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CommitState implements types.MetaStore.
func (m *metaFile) CommitState(state types.PersistentState) error {
	return m.change(func(s *metaState) { s.PersistentState = state })
}

// GetStable implements types.MetaStore.
func (m *metaFile) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.state.Stable[string(key)]), nil
}

// SetStable implements types.MetaStore.
func (m *metaFile) SetStable(key, value []byte) error {
	return m.change(func(s *metaState) {
		if s.Stable == nil {
			s.Stable = map[string][]byte{}
		}
		s.Stable[string(key)] = bytes.Clone(value)
	})
}

// Close implements types.MetaStore.
func (m *metaFile) Close() error { return nil }
