package raft_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// TestTxnsShareAnEntry writes a hundred keys in as many transactions that share one entry of the log, closes the node,
// and finds them all.
func TestTxnsShareAnEntry(t *testing.T) {
	var commands atomic.Int64
	cfg := raft.Config{Dir: t.TempDir()}
	cfg.Store.Events.Proposed = func(txns, bytes int, took time.Duration, err error) {
		if txns > 1 {
			commands.Add(1)
		}
	}
	n, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var txns []store.Txn
	for i := range 100 {
		key := fmt.Sprint("key-", i)
		txns = append(txns, store.Txn{If: []store.Compare{store.IfMissing(key)}, Then: []store.Op{store.OpPut(key, nil)}})
	}
	revisions := map[int64]bool{}
	for i, o := range n.Store().Txns(t.Context(), txns) {
		if o.Err != nil || !o.Succeeded {
			t.Errorf("transaction %d: %+v", i, o)
		}
		revisions[o.Revision] = true
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	// The event may come after the answers, but not after Close.
	if len(revisions) != 100 || commands.Load() != 1 {
		t.Errorf("%d revisions in %d entries of the log", len(revisions), commands.Load())
	}
	if n, err = raft.Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	all, err := n.Store().Range(t.Context(), store.Range{Key: "key-", End: store.PrefixEnd("key-")})
	if err != nil || len(all.Entries) != 100 {
		t.Errorf("%d keys are there, %v", len(all.Entries), err)
	}
}
