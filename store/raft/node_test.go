package raft_test

import (
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg raft.Config) *raft.Node {
	t.Helper()
	n, err := raft.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func put(t testing.TB, s *store.Store, key, value string) int64 {
	t.Helper()
	res, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Revision
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		n, err := raft.Open(raft.Config{Dir: dir, SnapshotEntries: 5})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := n.Store().Revision(), int64(1+20*i); got != want {
			t.Fatalf("revision %d after %d reopens, want %d", got, i, want)
		}
		for j := range 20 {
			put(t, n.Store(), fmt.Sprintf("k%d", j), fmt.Sprint(i))
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	n := open(t, raft.Config{Dir: dir})
	if _, err := raft.Open(raft.Config{Dir: dir}); !errors.Is(err, store.ErrLocked) {
		t.Fatal(err)
	}
	put(t, n.Store(), "still", "works")
}
