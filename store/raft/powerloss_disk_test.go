package raft_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// volatileFiles are the log's files on a disk that keeps what was synced. What was not may be lost when the
// power fails, or be there in part. A file's name is kept when the file was synced by who made it; a name
// that was not is kept from the next opening on, since Open syncs the directory.
type volatileFiles struct {
	types.VFS
	mu    sync.Mutex
	files map[string]*volatileFile
	delay time.Duration // of each sync, so that there is more to lose
}

type volatileFile struct {
	durable []byte
	named   bool
	pending []pendingWrite
}

type pendingWrite struct {
	at   int64
	data []byte
}

func newVolatileFiles() *volatileFiles {
	return &volatileFiles{VFS: fs.New(), files: map[string]*volatileFile{}}
}

func (v *volatileFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f, err := v.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	state := &volatileFile{durable: make([]byte, size)}
	v.files[name] = state
	return &volatileHandle{WritableFile: f, fs: v, state: state, made: true}, nil
}

func (v *volatileFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f, err := v.VFS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	state := &volatileFile{durable: b, named: true}
	v.files[name] = state
	return &volatileHandle{WritableFile: f, fs: v, state: state}, nil
}

func (v *volatileFiles) Delete(dir, name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.files, name)
	return v.VFS.Delete(dir, name)
}

type volatileHandle struct {
	types.WritableFile
	fs    *volatileFiles
	state *volatileFile
	made  bool
}

func (h *volatileHandle) WriteAt(b []byte, at int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	h.state.pending = append(h.state.pending, pendingWrite{at, bytes.Clone(b)})
	return h.WritableFile.WriteAt(b, at)
}

func (h *volatileHandle) Sync() error {
	time.Sleep(h.fs.delay)
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	for _, w := range h.state.pending {
		h.state.durable = w.onto(h.state.durable, len(w.data))
	}
	h.state.pending = nil
	h.state.named = h.state.named || h.made
	return nil
}

// onto writes the first n bytes.
func (w pendingWrite) onto(b []byte, n int) []byte {
	if end := int(w.at) + n; end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.at:], w.data[:n])
	return b
}

// fail copies a store's directory as it is when the power fails now. The store goes on. It calls count while no
// sync can end, so that what is acknowledged until then was synced before.
func (v *volatileFiles) fail(t *testing.T, from, to string, count func()) (lost int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	count()
	copyStore(t, from, to, v.files)
	for name, f := range v.files {
		path := filepath.Join(to, "log", name)
		if !f.named && rand.IntN(2) == 0 {
			_ = os.Remove(path)
			continue
		}
		left := bytes.Clone(f.durable)
		for _, w := range f.pending {
			lost++
			switch rand.IntN(3) {
			case 0: // got to the disk all the same
				left = w.onto(left, len(w.data))
			case 1: // in part
				left = w.onto(left, rand.IntN(len(w.data)+1))
			}
		}
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return lost
}

// copyStore copies a store that is in use, without the files of the log that were written to.
func copyStore(t *testing.T, from, to string, written map[string]*volatileFile) {
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a snapshot was removed meanwhile
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if rel == "lock" || written[d.Name()] != nil {
			return nil
		}
		b, err := readQuiet(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readQuiet reads a file at one moment: until two reads agree.
func readQuiet(path string) ([]byte, error) {
	before, err := os.ReadFile(path)
	for err == nil {
		time.Sleep(time.Millisecond)
		var after []byte
		if after, err = os.ReadFile(path); bytes.Equal(before, after) {
			break
		}
		before = after
	}
	return before, err
}
