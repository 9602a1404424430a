package raft_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// written makes a closed store with n keys.
func written(t *testing.T, cfg raft.Config, n int) {
	t.Helper()
	node, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		put(t, node.Store(), fmt.Sprintf("key-%04d", i), strings.Repeat("v", 100))
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, pattern ...string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", pattern, err)
	}
	return files[len(files)-1]
}

func refuses(t *testing.T, cfg raft.Config, says ...string) {
	t.Helper()
	n, err := raft.Open(cfg)
	if err == nil {
		n.Close()
		t.Fatal("opened")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestDamagedSnapshot(t *testing.T) {
	for _, damage := range []string{"flip", "cut", "no state", "no meta"} {
		t.Run(damage, func(t *testing.T) {
			cfg := raft.Config{Dir: t.TempDir(), SnapshotEntries: 400, SegmentBytes: 64 << 10}
			written(t, cfg, 2000) // so many that the log begins behind all snapshots but the newest
			state := glob(t, cfg.Dir, "snapshots", "*", "state.bin")
			b, err := os.ReadFile(state)
			if err != nil {
				t.Fatal(err)
			}
			switch damage {
			case "flip":
				b[len(b)/2] ^= 1
				err = os.WriteFile(state, b, 0o600)
			case "cut":
				err = os.WriteFile(state, b[:len(b)/2], 0o600)
			case "no state":
				err = os.Remove(state)
			case "no meta":
				err = os.Remove(filepath.Join(filepath.Dir(state), "meta.json"))
			}
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, cfg, "corrupt", cfg.Dir)
		})
	}
}

// A lost log is not taken for a new store.
func TestLostLog(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SnapshotEntries: 50}
	written(t, cfg, 200)
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "log")); err != nil {
		t.Fatal(err)
	}
	refuses(t, cfg, "corrupt", cfg.Dir)
}

// A member that has lost its log is not taken for one that the leader has just sent a snapshot.
func TestClusterLostLog(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	for i := range 300 {
		c.put("a", fmt.Sprint(i), "v")
	}
	id := c.follower()
	glob(t, c.configs[id].Dir, "snapshots", "*", "meta.json")
	c.close(id)
	if err := os.RemoveAll(filepath.Join(c.configs[id].Dir, "log")); err != nil {
		t.Fatal(err)
	}
	refuses(t, c.configs[id], "corrupt", c.configs[id].Dir)
}

// Nor is one without snapshots, whose file is empty or gone.
func TestEmptiedLog(t *testing.T) {
	for name, harm := range map[string]func(file string) error{
		"emptied": func(file string) error { return os.Truncate(file, 0) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := raft.Config{Dir: t.TempDir()}
			written(t, cfg, 3)
			if err := harm(glob(t, cfg.Dir, "log", "*.wal")); err != nil {
				t.Fatal(err)
			}
			refuses(t, cfg, "corrupt", cfg.Dir)
		})
	}
}

// A flipped bit in the log is an error or, in the last entry, where it looks like a write that did not
// complete, cuts that off. It never changes a value.
func TestDamagedLog(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
	const keys = 20
	written(t, cfg, keys)
	segment := glob(t, cfg.Dir, "log", "*.wal")
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))
	for range 60 {
		at := rand.IntN(used)
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(whole)
		bad[at] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(filepath.Join(dir, "log", filepath.Base(segment)), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := raft.Open(raft.Config{Dir: dir, SegmentBytes: 64 << 10})
		if err != nil {
			continue
		}
		r, err := n.Store().Range(t.Context(), store.Range{End: store.PrefixEnd("")})
		if err != nil || r.Count < keys-1 {
			t.Errorf("byte %d of %d: %d keys, %v", at, used, r.Count, err)
		}
		for _, e := range r.Entries {
			if string(e.Value) != strings.Repeat("v", 100) {
				t.Errorf("byte %d: %s is %q", at, e.Key, e.Value)
			}
		}
		n.Close()
	}
}

func TestBadConfig(t *testing.T) {
	refuses(t, raft.Config{}, "Config.Dir is empty")
	refuses(t, raft.Config{Dir: t.TempDir(), SnapshotBytes: -1}, "Config.SnapshotBytes")
	refuses(t, raft.Config{Dir: t.TempDir(), SegmentBytes: 5}, "Config.SegmentBytes")
	refuses(t, raft.Config{Dir: t.TempDir(), Store: store.Config{HistoryBytes: -1}}, "Config.HistoryBytes")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, raft.Config{Dir: file}, file)
	dir := t.TempDir()
	written(t, raft.Config{Dir: dir}, 1)
	refuses(t, raft.Config{Dir: dir, ID: "other"}, "Config.ID", `"other"`)
}

// A process that ended while the node was being made leaves a directory that can be used.
func TestHalfMade(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir()}
	written(t, cfg, 0)
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	// The lock of a process that is gone is none.
	if err := os.WriteFile(filepath.Join(cfg.Dir, "lock"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, cfg).Store(), "k", "v")
	if _, err := raft.Open(cfg); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Error(err)
	}
}
