package raft_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	node, err := raft.Open(raft.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	// When Txn returns, the change is on the disk.
	if _, err := node.Store().Txn(ctx, store.Txn{Then: []store.Op{store.OpPut("k", []byte("v"))}}); err != nil {
		panic(err)
	}
	// One process at a time.
	_, err = raft.Open(raft.Config{Dir: dir})
	fmt.Println(errors.Is(err, store.ErrLocked))
	if err := node.Close(); err != nil {
		panic(err)
	}

	node, err = raft.Open(raft.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer node.Close()
	e, rev, err := node.Store().Get(ctx, "k")
	fmt.Printf("%s at revision %d, %v\n", e.Value, rev, err)
	// Output:
	// true
	// v at revision 2, <nil>
}
