package store_test

import (
	"context"
	"errors"
	"fmt"

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
