package raft_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// backupOf is a backup of a store with so many keys, one of them leased.
func backupOf(t *testing.T, keys int) ([]byte, store.BackupInfo) {
	s := open(t, raft.Config{Dir: t.TempDir()}).Store()
	for i := range keys {
		put(t, s, fmt.Sprintf("key-%d", i), fmt.Sprint(i))
	}
	id, err := s.Grant(t.Context(), 7, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	op := store.OpPut("leased", []byte("v"))
	op.Lease = id
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{op}}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	info, err := s.Backup(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), info
}

func TestRestore(t *testing.T) {
	backup, info := backupOf(t, 100)
	cfg := raft.Config{Dir: filepath.Join(t.TempDir(), "new", "dir")}
	if err := raft.Restore(cfg, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and once more, from the log that it has then
		n, err := raft.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := n.Store()
		if e, _, err := s.Get(t.Context(), "key-99"); err != nil || e == nil || string(e.Value) != "99" {
			t.Errorf("key-99: %+v, %v", e, err)
		}
		if l, err := s.Lease(t.Context(), 7); err != nil || fmt.Sprint(l.Keys) != "[leased]" {
			t.Errorf("lease: %+v, %v", l, err)
		}
		if s.Revision() != info.Revision {
			t.Errorf("revision %d, the backup was made at %d", s.Revision(), info.Revision)
		}
		info.Revision = put(t, s, "more", "v")
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := raft.Restore(cfg, bytes.NewReader(backup)); err == nil {
		t.Error("restored over what is there")
	}
	left, err := filepath.Glob(filepath.Dir(cfg.Dir) + "/*")
	if err != nil || len(left) != 1 {
		t.Errorf("left beside the directory: %v, %v", left, err)
	}
}

func TestRestoreDamaged(t *testing.T) {
	backup, _ := backupOf(t, 100)
	backup[len(backup)/2] ^= 1
	dir := filepath.Join(t.TempDir(), "dir")
	if err := raft.Restore(raft.Config{Dir: dir}, bytes.NewReader(backup)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a damaged backup: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

// A new cluster is restored member by member.
func TestRestoreCluster(t *testing.T) {
	backup, info := backupOf(t, 100)
	c := &trio{t: t, authority: newAuthority(t), dir: t.TempDir(), configs: map[string]raft.Config{}, nodes: map[string]*raft.Node{}}
	var members []raft.Member
	for _, id := range []string{"a", "b", "c"} {
		members = append(members, raft.Member{ID: id, Address: freeAddress(t)})
	}
	for _, m := range members {
		c.configure(m.ID, m.Address, members)
		if err := raft.Restore(c.configs[m.ID], bytes.NewReader(backup)); err != nil {
			t.Fatal(err)
		}
		c.open(m.ID)
		defer c.close(m.ID)
	}
	for _, m := range members {
		c.ready(m.ID)
		if got := c.get(m.ID, "key-99"); got != "99" {
			t.Errorf("%s reads %q", m.ID, got)
		}
		if got := c.nodes[m.ID].Store().Revision(); got != info.Revision {
			t.Errorf("%s is at revision %d, want %d", m.ID, got, info.Revision)
		}
	}
	c.put("b", "key-99", "new")
	if got := c.get("c", "key-99"); got != "new" {
		t.Errorf("after a put: %q", got)
	}
}
