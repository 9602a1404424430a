package raft_test

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// fullStable cannot keep anything once it is full.
type fullStable struct {
	hraft.StableStore
	full atomic.Bool
}

func (s *fullStable) SetUint64(key []byte, value uint64) error {
	if s.full.Load() {
		return syscall.ENOSPC
	}
	return s.StableStore.SetUint64(key, value)
}

// A member whose disk is full when it is to note a new term stops, and says why. The program goes on, and so
// do the other members.
func TestClusterFullDiskInElection(t *testing.T) {
	var stable fullStable
	c := newTrio(t, "a", "b", "c")
	c.put("a", "key", "1")
	c.close("a")
	cfg := c.configs["a"]
	cfg.SetStable(func(s hraft.StableStore) hraft.StableStore {
		stable.StableStore = s
		return &stable
	})
	c.configs["a"] = cfg
	c.open("a")
	c.ready("a")
	stable.full.Store(true)
	// A transfer makes a new term, which every member must note. It may end without a leader at first.
	for deadline := time.Now().Add(time.Minute); ; {
		leader := c.leader()
		to := map[string]string{"b": "c", "c": "b", "a": "b"}[leader]
		_ = c.nodes[leader].TransferLeadership(c.context(), to)
		_, err := c.nodes["a"].Store().Txn(c.context(), store.Txn{Then: []store.Op{store.OpPut("through a", nil)}})
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a takes a change, or does not say why not: %v", err)
		}
	}
	c.put("b", "key", "2")
	if got := c.get("c", "key"); got != "2" {
		t.Errorf("the others read %q", got)
	}
	if e, _, err := c.nodes["a"].Store().Get(t.Context(), "key"); err != nil || e == nil {
		t.Errorf("a local read of what is there: %v, %v", e, err)
	}
}
