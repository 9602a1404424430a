package raft_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// TestFullDisk fills a small disk: changes fail and say why, reads go on. When there is room again the
// store opens with all that was acknowledged.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	cfg := raft.Config{Dir: filepath.Join(disk, "store"), SegmentBytes: 64 << 10}
	n := open(t, cfg)
	acked := 0
	var failure error
	for ; failure == nil; acked++ {
		if acked > 100_000 {
			t.Fatal("the disk is never full")
		}
		_, failure = n.Store().Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(fmt.Sprintf("%08d", acked), value(acked))}})
	}
	acked-- // the last one failed
	if !errors.Is(failure, store.ErrUnknownOutcome) && !errors.Is(failure, store.ErrNoLeader) {
		t.Errorf("the change that did not fit: %v", failure)
	}
	if !errors.Is(failure, unix.ENOSPC) {
		t.Errorf("%v does not say that the disk is full", failure)
	}
	if _, err := n.Store().Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", nil)}}); !errors.Is(err, store.ErrNoLeader) {
		t.Errorf("the next change: %v", err)
	}
	checkKeys(t, n.Store(), acked, acked)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if n, err := raft.Open(cfg); err == nil { // whether it opens or not, it must lose nothing
		checkKeys(t, n.Store(), acked, acked+1)
		n.Close()
	} else {
		t.Logf("opening on the full disk: %v", err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	n = open(t, cfg)
	checkKeys(t, n.Store(), acked, acked+1)
	put(t, n.Store(), "k", "v")
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("the disk was full after %d changes: %v", acked, failure)
}
