package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// figures are the lines that have nothing to be compared with.
var figures = []struct {
	name, goal string
	measure    func(config) (string, error)
}{
	{"open a large store", "< 5 s", openLarge},
	{"memory per key beside key and value", "< 600 B", memoryPerKey},
}

// openLarge opens a store of many keys, of which the last changes are not in a snapshot yet.
func openLarge(cfg config) (string, error) {
	dir, err := os.MkdirTemp(cfg.dir, "compare-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	n, err := raft.Open(raft.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	list := make([]string, cfg.manyKeys)
	for i := range list {
		list[i] = key(i)
	}
	err = fill(context.Background(), list, &inboard{store: n.Store()})
	if err := errors.Join(err, n.Close()); err != nil {
		return "", err
	}
	runtime.GC()
	start := time.Now()
	n, err = raft.Open(raft.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	if stats := n.Store().Revision(); stats != int64(cfg.manyKeys)+1 {
		err = fmt.Errorf("%d revisions of %d are there", stats-1, cfg.manyKeys)
	}
	return fmt.Sprintf("%.2f s", took.Seconds()), errors.Join(err, n.Close())
}

// memoryPerKey is of a store in memory, so that nothing else is counted.
func memoryPerKey(cfg config) (string, error) {
	const keys = 200_000
	before := heap()
	s, err := store.Open(store.Config{HistoryRevisions: 1})
	if err != nil {
		return "", err
	}
	own := 0
	for i := range keys {
		k := key(i)
		own += len(k) + valueBytes
		txn := store.Txn{Then: []store.Op{store.OpPut(k, make([]byte, valueBytes))}}
		if _, err := s.Txn(context.Background(), txn); err != nil {
			return "", err
		}
	}
	perKey := (heap() - before - own) / keys
	return fmt.Sprintf("%d B", perKey), s.Close()
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
