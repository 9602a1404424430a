package raft

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress tells how far the log is applied, and wakes those who wait for an index.
type progress struct {
	index atomic.Uint64
	// seen is the last entry that the state machine was given; raft keeps some to itself.
	seen    atomic.Uint64
	waiting atomic.Int32

	mu      sync.Mutex
	waiters map[*waiter]struct{}
}

type waiter struct {
	index uint64
	done  chan struct{}
}

// reached notes that the entry at index, and everything before it, is applied.
func (p *progress) reached(index uint64) {
	p.seen.Store(index)
	p.raise(index)
	if p.waiting.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiters {
		if w.index <= index {
			close(w.done)
			delete(p.waiters, w)
			p.waiting.Add(-1)
		}
	}
}

// raise notes that there is nothing more to apply up to index.
func (p *progress) raise(index uint64) {
	for {
		at := p.index.Load()
		if at >= index || p.index.CompareAndSwap(at, index) {
			return
		}
	}
}

// wait returns when everything up to index is applied, or ctx ends.
func (p *progress) wait(ctx context.Context, index uint64) error {
	if p.index.Load() >= index {
		return nil
	}
	w := &waiter{index: index, done: make(chan struct{})}
	p.mu.Lock()
	if p.waiters == nil {
		p.waiters = map[*waiter]struct{}{}
	}
	p.waiters[w] = struct{}{}
	p.waiting.Add(1)
	p.mu.Unlock()
	// What was reached before the waiter could be seen was not told to it.
	if at := p.index.Load(); at >= index {
		p.forget(w)
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		p.forget(w)
		return ctx.Err()
	}
}

func (p *progress) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.waiters[w]; ok {
		delete(p.waiters, w)
		p.waiting.Add(-1)
	}
}
