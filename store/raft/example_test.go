package raft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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

// Three nodes in one process, over mutual TLS. What one takes, the others have.
func Example_cluster() {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	network := exampleNetwork() // raft.TLS, with certificates for 127.0.0.1
	var members []raft.Member
	for _, id := range []string{"a", "b", "c"} {
		members = append(members, raft.Member{ID: id, Address: freeAddress(exampleT{})})
	}

	nodes := map[string]*raft.Node{}
	for _, m := range members {
		n, err := raft.Open(raft.Config{
			Dir: filepath.Join(dir, m.ID), ID: m.ID, Address: m.Address, Members: members, Network: network,
		})
		if err != nil {
			panic(err)
		}
		defer n.Close()
		nodes[m.ID] = n
	}
	if err := nodes["a"].Ready(ctx); err != nil {
		panic(err)
	}
	if _, err := nodes["a"].Store().Txn(ctx, store.Txn{Then: []store.Op{store.OpPut("k", []byte("v"))}}); err != nil {
		panic(err)
	}
	if err := nodes["c"].Ready(ctx); err != nil {
		panic(err)
	}
	r, err := nodes["c"].Store().Range(ctx, store.Range{Key: "k", Linearizable: true})
	fmt.Printf("%s, %v\n", r.Entries[0].Value, err)
	fmt.Println(len(nodes["b"].Members()), "members")
	// Output:
	// v, <nil>
	// 3 members
}
