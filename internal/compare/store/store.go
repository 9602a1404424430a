package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// inboard is a store of this project.
type inboard struct {
	nodes []*raft.Node
	store *store.Store // of the leader
}

func openStore(dir string, members int) (system, error) {
	if members != 1 {
		return nil, errors.New("no cluster yet")
	}
	n, err := raft.Open(raft.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return nil, err
	}
	return &inboard{nodes: []*raft.Node{n}, store: n.Store()}, nil
}

func (s *inboard) put(ctx context.Context, key string, value []byte) error {
	_, err := s.store.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, value)}})
	return err
}

func (s *inboard) get(ctx context.Context, key string, linearizable bool) error {
	res, err := s.store.Range(ctx, store.Range{Key: key, Linearizable: linearizable})
	if err == nil && len(res.Entries) != 1 {
		return fmt.Errorf("%d values of %s", len(res.Entries), key)
	}
	return err
}

func (s *inboard) watch(ctx context.Context, seen func(int), start func(func() error)) error {
	w, err := s.store.Watch(store.WatchConfig{End: store.PrefixEnd("")})
	if err != nil {
		return err
	}
	start(func() error {
		defer w.Close()
		for {
			b, err := w.Next(ctx)
			if err != nil {
				return err
			}
			seen(len(b.Events))
		}
	})
	return nil
}

func (s *inboard) close() error {
	var errs []error
	for _, n := range s.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}
