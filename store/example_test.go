package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inboard/inboard/store"
)

func Example() {
	s, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	ctx := context.Background()

	// Create a key only if nobody else did.
	res, err := s.Txn(ctx, store.Txn{
		If:   []store.Compare{store.IfMissing("leader")},
		Then: []store.Op{store.OpPut("leader", []byte("node-a"))},
	})
	fmt.Println(res.Succeeded, res.Revision, err)

	// Change it only if nobody else did.
	e, _, err := s.Get(ctx, "leader")
	if err != nil {
		panic(err)
	}
	res, err = s.Txn(ctx, store.Txn{
		If:   []store.Compare{store.IfModRevision("leader", e.ModRevision)},
		Then: []store.Op{store.OpPut("leader", []byte("node-b"))},
		Else: []store.Op{store.OpGet("leader")},
	})
	fmt.Println(res.Succeeded, res.Revision, err)
	// Output:
	// true 2 <nil>
	// true 3 <nil>
}

// List, then watch from where the list ends: nothing is missed, nothing comes twice.
func ExampleStore_Watch() {
	s, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	ctx := context.Background()
	for _, key := range []string{"pods/a", "pods/b", "nodes/x"} {
		if _, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, []byte("new"))}}); err != nil {
			panic(err)
		}
	}

	list, err := s.Range(ctx, store.Range{Key: "pods/", End: store.PrefixEnd("pods/")})
	if err != nil {
		panic(err)
	}
	fmt.Println(list.Count, "pods at revision", list.Revision)
	w, err := s.Watch(store.WatchConfig{Key: "pods/", End: store.PrefixEnd("pods/"), Revision: list.Revision + 1})
	if err != nil {
		panic(err) // a *CompactedError after a long break: list again
	}
	defer w.Close()

	if _, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpDelete("pods/a"), store.OpDelete("nodes/x")}}); err != nil {
		panic(err)
	}
	batch, err := w.Next(ctx)
	if err != nil {
		panic(err)
	}
	for _, ev := range batch.Events {
		fmt.Println(batch.Revision, ev.Type == store.EventDelete, ev.Entry.Key)
	}
	// Output:
	// 2 pods at revision 4
	// 5 true pods/a
}

func ExampleCompactedError() {
	s, err := store.Open(store.Config{HistoryRevisions: 2})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	for range 5 {
		if _, err := s.Txn(context.Background(), store.Txn{Then: []store.Op{store.OpPut("k", nil)}}); err != nil {
			panic(err)
		}
	}
	_, err = s.Watch(store.WatchConfig{Key: "k", Revision: 2})
	fmt.Println(err)
	var compacted *store.CompactedError
	fmt.Println(errors.Is(err, store.ErrCompacted), errors.As(err, &compacted) && compacted.Oldest == 4)
	// Output:
	// store: revision compacted; the oldest kept is 4
	// true true
}

// What a member of a group tells of itself goes when it no longer says that it is there.
func ExampleStore_Grant() {
	s, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	ctx := context.Background()

	lease, err := s.Grant(ctx, 0, 10*time.Second)
	if err != nil {
		panic(err)
	}
	member := store.OpPut("members/a", []byte("10.0.0.1"))
	member.Lease = lease
	if _, err := s.Txn(ctx, store.Txn{Then: []store.Op{member}}); err != nil {
		panic(err)
	}
	left, err := s.KeepAlive(ctx, lease) // every few seconds
	fmt.Println(left, err)
	info, err := s.Lease(ctx, lease)
	fmt.Println(info.TTL, info.Keys, err)

	if err := s.Revoke(ctx, lease); err != nil { // or no more KeepAlive for 10 s
		panic(err)
	}
	e, _, err := s.Get(ctx, "members/a")
	fmt.Println(e == nil, err)
	_, err = s.KeepAlive(ctx, lease)
	fmt.Println(errors.Is(err, store.ErrLeaseNotFound))
	// Output:
	// 10s <nil>
	// 10s [members/a] <nil>
	// true <nil>
	// true
}

func ExampleStore_Backup() {
	s, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	ctx := context.Background()
	if _, err := s.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut("k", []byte("v"))}}); err != nil {
		panic(err)
	}

	var file bytes.Buffer // an os.File: sync it, then rename it
	if _, err := s.Backup(ctx, &file); err != nil {
		panic(err)
	}
	info, err := store.VerifyBackup(bytes.NewReader(file.Bytes()))
	fmt.Println(info.Revision, info.Keys, err)
	again, err := store.OpenBackup(store.Config{}, &file)
	if err != nil {
		panic(err)
	}
	defer again.Close()
	e, _, err := again.Get(ctx, "k")
	fmt.Println(string(e.Value), err)
	// Output:
	// 2 1 <nil>
	// v <nil>
}

// A transaction within a transaction decides on its own, in the same revision.
func ExampleOpTxn() {
	s, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	res, err := s.Txn(context.Background(), store.Txn{Then: []store.Op{
		store.OpPut("job", []byte("1")),
		store.OpTxn(store.Txn{
			If:   []store.Compare{store.IfMissing("counter")},
			Then: []store.Op{store.OpPut("counter", []byte("1"))},
			Else: []store.Op{store.OpGet("counter")},
		}),
	}})
	fmt.Println(res.Revision, res.Results[1].Txn.Succeeded, res.Results[1].Txn.Revision, err)
	// Output: 2 true 2 <nil>
}
