package raft

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// guardedLog is the write-ahead log, stopped at the first failure: what it knows of its files may be
// wrong from then on, so nothing more may be written before it has been opened, and checked, again.
type guardedLog struct {
	*wal.WAL
	dir  string
	meta *metaFile
	// last is the index of the newest entry on the disk; grown is called after it has changed.
	last  atomic.Uint64
	grown func()

	once   sync.Once
	failed chan struct{} // closed when err is set
	err    error
}

// StoreLog implements raft.LogStore.
func (g *guardedLog) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (g *guardedLog) StoreLogs(logs []*raft.Log) error {
	if err := g.failure(); err != nil {
		return err
	}
	err := g.WAL.StoreLogs(logs)
	if err == nil {
		err = g.meta.goesOn()
	}
	if err != nil {
		g.fail(err)
		return g.failure()
	}
	g.last.Store(logs[len(logs)-1].Index)
	if g.grown != nil {
		g.grown()
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (g *guardedLog) DeleteRange(first, last uint64) error {
	if err := g.failure(); err != nil {
		return err
	}
	err := error(nil)
	if last >= g.last.Load() { // the end, not the beginning
		err = g.meta.takesBack(first)
	}
	if err == nil {
		err = g.WAL.DeleteRange(first, last)
	}
	if err != nil {
		g.fail(err)
		return g.failure()
	}
	left, err := g.WAL.LastIndex()
	if err == nil {
		g.last.Store(left)
	}
	return err
}

// fail stops the log; the first reason stays.
func (g *guardedLog) fail(reason error) {
	g.once.Do(func() {
		g.err = fmt.Errorf("the log in %s cannot be written: %w; see to the disk and open the store again", g.dir, reason)
		close(g.failed)
	})
}

// failure is why the log is stopped, nil when it is not.
func (g *guardedLog) failure() error {
	select {
	case <-g.failed:
		return g.err
	default:
		return nil
	}
}
