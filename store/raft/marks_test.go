package raft_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// damages harm a member's directory while it is closed. What it then says is store.ErrCorrupt, unless nothing
// is missing.
var damages = []struct {
	name  string
	whole bool
	harm  func(t *testing.T, dir string)
}{
	{"log removed", false, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "log")) }},
	{"log emptied", false, func(t *testing.T, dir string) {
		remove(t, filepath.Join(dir, "log"))
		if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
	}},
	{"last file removed", false, func(t *testing.T, dir string) { remove(t, glob(t, dir, "log", "*.wal")) }},
	{"last file emptied", false, func(t *testing.T, dir string) { edit(t, glob(t, dir, "log", "*.wal"), cutAt(0)) }},
	{"last file lost its last entry", false, func(t *testing.T, dir string) {
		edit(t, glob(t, dir, "log", "*.wal"), func(b []byte) []byte {
			used := len(bytes.TrimRight(b, "\x00"))
			clear(b[used-8 : used])
			return b
		})
	}},
	{"last file zeroed", false, func(t *testing.T, dir string) {
		edit(t, glob(t, dir, "log", "*.wal"), func(b []byte) []byte { return make([]byte, len(b)) })
	}},
	{"last file cut off behind its entries", false, func(t *testing.T, dir string) {
		edit(t, glob(t, dir, "log", "*.wal"), func(b []byte) []byte { return bytes.TrimRight(b, "\x00") })
	}},
	{"meta removed", false, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "meta")) }},
	{"meta emptied", false, func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "meta"), cutAt(0)) }},
	{"meta torn", false, func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "meta"), cutAt(100)) }},
	{"meta flipped", false, func(t *testing.T, dir string) {
		edit(t, filepath.Join(dir, "meta"), func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
	}},
	{"meta being replaced", true, func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "meta.tmp"), []byte("crc32c 0"), 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{"nothing", true, func(*testing.T, string) {}},
}

// damagesLater harm the directory of a member that has snapshots.
var damagesLater = []struct {
	name string
	harm func(t *testing.T, dir string)
}{
	{"snapshot flipped", func(t *testing.T, dir string) {
		edit(t, glob(t, dir, "snapshots", "*", "state.bin"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}},
	{"snapshot cut off", func(t *testing.T, dir string) { edit(t, glob(t, dir, "snapshots", "*", "state.bin"), cutAt(50)) }},
	{"snapshots removed", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "snapshots")) }},
	{"log and meta removed", func(t *testing.T, dir string) {
		remove(t, filepath.Join(dir, "log"))
		remove(t, filepath.Join(dir, "meta"))
	}},
	{"middle file removed", func(t *testing.T, dir string) { remove(t, middleFile(t, dir)) }},
	{"middle file cut off", func(t *testing.T, dir string) { edit(t, middleFile(t, dir), cutAt(2000)) }},
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cutAt(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// middleFile is a file of the log that is full.
func middleFile(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.wal"))
	if err != nil || len(files) < 2 {
		t.Fatalf("the log's files: %v, %v", files, err)
	}
	return files[len(files)-2]
}

// A member that has lost something says so, with or without snapshots, whether it had been alone, was one of the
// first members or was added later. It never begins anew.
func TestClusterDamage(t *testing.T) {
	c := &trio{t: t, authority: newAuthority(t), dir: t.TempDir(), configs: map[string]raft.Config{}, nodes: map[string]*raft.Node{}}
	members := []raft.Member{{ID: "a", Address: freeAddress(t)}}
	c.configure("a", members[0].Address, members)
	c.configure("b", freeAddress(t), nil)
	for _, id := range []string{"a", "b"} {
		c.open(id)
	}
	if err := c.nodes["a"].AddMember(c.context(), raft.Member{ID: "b", Address: c.configs["b"].Address}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		c.put("a", fmt.Sprintf("%08d", i), string(value(i)))
	}
	young := map[string]string{"a": copyMember(t, c, "a"), "b": copyMember(t, c, "b")}
	for i := 20; i < 1300; i++ {
		c.put("a", fmt.Sprintf("%08d", i), string(bytes.Repeat(value(i), 4)))
	}
	for id, young := range young {
		old := copyMember(t, c, id)
		for _, d := range damages {
			t.Run(fmt.Sprintf("%s young %s", id, d.name), func(t *testing.T) { damaged(t, c.configs[id], young, d.harm, d.whole) })
			t.Run(fmt.Sprintf("%s old %s", id, d.name), func(t *testing.T) { damaged(t, c.configs[id], old, d.harm, d.whole) })
		}
		for _, d := range damagesLater {
			t.Run(fmt.Sprintf("%s old %s", id, d.name), func(t *testing.T) { damaged(t, c.configs[id], old, d.harm, false) })
		}
	}
	for id := range c.configs {
		c.close(id)
	}
}

// copyMember closes a member, copies its directory and opens it again.
func copyMember(t *testing.T, c *trio, id string) string {
	dir := filepath.Join(t.TempDir(), id)
	c.close(id)
	if err := os.CopyFS(dir, os.DirFS(c.configs[id].Dir)); err != nil {
		t.Fatal(err)
	}
	c.open(id)
	return dir
}

func damaged(t *testing.T, cfg raft.Config, from string, harm func(*testing.T, string), whole bool) {
	cfg.Dir = filepath.Join(t.TempDir(), "copy")
	cfg.Address = freeAddress(t) // the member itself is still there
	if err := os.CopyFS(cfg.Dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	harm(t, cfg.Dir)
	cfg.Members = nil
	for range 2 { // it does not go away by trying again
		n, err := raft.Open(cfg)
		if err == nil {
			err = n.Close()
			if !whole {
				t.Fatalf("opened, closed with %v", err)
			}
		}
		if whole != (err == nil) || !whole && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%v", err)
		}
		if !whole && (!strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), "remove this member")) {
			t.Errorf("%q does not say where, or what to do", err)
		}
	}
}

// The way out: the others remove the member, its directory is emptied, and it is added again.
func TestClusterDamagedMemberComesBack(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	for i := range 20 {
		c.put("a", fmt.Sprintf("%08d", i), string(value(i)))
	}
	c.close("c")
	cfg := c.configs["c"]
	remove(t, filepath.Join(cfg.Dir, "log"))
	refuses(t, cfg, "corrupt", cfg.Dir, "add it again with an empty directory")
	if err := c.nodes["a"].RemoveMember(c.context(), "c"); err != nil {
		t.Fatal(err)
	}
	remove(t, cfg.Dir)
	cfg.Members = nil
	c.configs["c"] = cfg
	c.open("c")
	if err := c.nodes["a"].AddMember(c.context(), raft.Member{ID: "c", Address: cfg.Address}); err != nil {
		t.Fatal(err)
	}
	c.ready("c")
	checkKeys(t, c.nodes["c"].Store(), 20, 20)
}

// A log that ends before the newest snapshot is one that lost its end, or one that is just being replaced by a
// snapshot of the leader. What was noted tells which.
func TestClusterLogBeforeSnapshot(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	for i := range 30 {
		c.put("a", fmt.Sprintf("%08d", i), string(value(i)))
	}
	id := c.follower()
	early := copyMember(t, c, id)
	c.ready(id)
	for i := 30; i < 300; i++ {
		c.put(id, fmt.Sprintf("%08d", i), string(value(i)))
	}
	c.close(id)
	cfg := c.configs[id]
	late := cfg.Dir
	cfg.Dir = early
	snapshot := filepath.Dir(glob(t, late, "snapshots", "*", "meta.json"))
	if err := os.CopyFS(filepath.Join(early, "snapshots", filepath.Base(snapshot)), os.DirFS(snapshot)); err != nil {
		t.Fatal(err)
	}
	refuses(t, cfg, "corrupt", cfg.Dir)
	var term, index uint64
	if _, err := fmt.Sscanf(filepath.Base(snapshot), "%d-%d-", &term, &index); err != nil {
		t.Fatal(err)
	}
	if err := raft.MarkInstalling(early, index); err != nil {
		t.Fatal(err)
	}
	c.configs[id] = cfg
	c.open(id)
	c.ready(id)
	if got := c.get(id, "00000299"); got != string(value(299)) {
		t.Errorf("reads %q", got)
	}
	checkKeys(t, c.nodes[id].Store(), 300, 300)
}

// brokenFiles cannot make new files once they are broken.
type brokenFiles struct {
	types.VFS
	broken atomic.Bool
}

func (f *brokenFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if f.broken.Load() {
		return nil, syscall.EIO
	}
	return f.VFS.Create(dir, name, size)
}

// A member whose disk fails while a snapshot replaces its log has everything when the disk is well again.
func TestClusterInstallFails(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	c.put("a", fmt.Sprintf("%08d", 0), string(value(0)))
	id := c.follower()
	c.close(id)
	through := c.follower()
	for i := 1; i < 800; i++ {
		c.put(through, fmt.Sprintf("%08d", i), string(bytes.Repeat(value(i), 20)))
	}
	cfg := c.configs[id]
	files := &brokenFiles{VFS: newSlowDisk()}
	files.broken.Store(true)
	cfg.SetFiles(files)
	n, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); n.Status().SnapshotBytes == 0 && len(globs(cfg.Dir)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no snapshot comes")
		}
	}
	_, err = n.Store().Txn(c.context(), store.Txn{Then: []store.Op{store.OpPut("through it", nil)}})
	for deadline := time.Now().Add(time.Minute); !errors.Is(err, syscall.EIO); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("its disk has failed, and it says %v", err)
		}
		_, err = n.Store().Txn(c.context(), store.Txn{Then: []store.Op{store.OpPut("through it", nil)}})
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(id) // on a disk that is well
	c.ready(id)
	c.close(id) // and once more
	c.open(id)
	c.ready(id)
	r, err := c.nodes[id].Store().Range(t.Context(), store.Range{Key: "0", End: "1"})
	if err != nil || len(r.Entries) != 800 {
		t.Fatalf("%d keys, %v", len(r.Entries), err)
	}
	for i, e := range r.Entries[1:] {
		if string(e.Value) != string(bytes.Repeat(value(i+1), 20)) {
			t.Fatalf("%s is %q", e.Key, e.Value)
		}
	}
}

func globs(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*", "meta.json"))
	return files
}

// Large entries do not stay in the log behind a snapshot, however few they are, and the store opens again.
func TestTrailingBytes(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SnapshotBytes: 1 << 20, SegmentBytes: 64 << 10}
	n := open(t, cfg)
	for i := range 100 {
		put(t, n.Store(), "key", strings.Repeat(fmt.Sprint(i%10), 100<<10))
	}
	for deadline := time.Now().Add(time.Minute); n.Status().LogBytes > 4<<20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %d bytes", n.Status().LogBytes)
		}
	}
	put(t, n.Store(), "key", strings.Repeat("x", 3<<19)) // more than may stay
	for n.Status().LogBytes > 4<<20 {
		time.Sleep(10 * time.Millisecond)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	e, _, err := open(t, cfg).Store().Get(t.Context(), "key")
	if err != nil || string(e.Value) != strings.Repeat("x", 3<<19) {
		t.Errorf("the key is lost: %v", err)
	}
}
