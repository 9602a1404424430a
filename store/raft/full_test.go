package raft_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// TestLogCannotGrow makes the log unable to start its next file, as a full disk does: changes fail and
// say why, reads go on, and when the reason is gone the store opens with all that was acknowledged.
func TestLogCannotGrow(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
	n := open(t, cfg)
	logDir := filepath.Join(cfg.Dir, "log")
	value := strings.Repeat("v", 1000)
	acked := 0
	rename(t, logDir, logDir+".away")
	for {
		_, err := n.Store().Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", []byte(value))}})
		if err != nil {
			if !errors.Is(err, store.ErrNoLeader) && !errors.Is(err, store.ErrUnknownOutcome) {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(err.Error(), logDir) {
				t.Errorf("%q does not name %s", err, logDir)
			}
			break
		}
		if acked++; acked > 1000 {
			t.Fatal("the log was never full")
		}
	}
	if _, err := n.Store().Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("k", nil)}}); !errors.Is(err, store.ErrNoLeader) {
		t.Errorf("the next change: %v", err)
	}
	if e, _, err := n.Store().Get(t.Context(), "k"); err != nil || e.Version != int64(acked) {
		t.Errorf("read: %+v, %v; %d were acknowledged", e, err, acked)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	rename(t, logDir+".away", logDir)
	n = open(t, cfg)
	if e, _, err := n.Store().Get(t.Context(), "k"); err != nil || e.Version < int64(acked) || e.Version > int64(acked+1) {
		t.Errorf("after reopening: %+v, %v; %d were acknowledged", e, err, acked)
	}
	put(t, n.Store(), "k", "v")
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
