package raft

import (
	"context"
	"sync"
)

// rounds lets callers share what is costly to find out: each gets the outcome of a run that began after
// its call, and while one run is under way, all that come wait for the next.
type rounds[T any] struct {
	run func() (T, error)
	// spawn starts a goroutine; false when it is too late for that.
	spawn func(func()) bool

	mu      sync.Mutex
	next    *round[T]
	running bool
}

type round[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// do waits for a run, or until ctx ends.
func (r *rounds[T]) do(ctx context.Context) (T, error) {
	var none T
	r.mu.Lock()
	if r.next == nil {
		r.next = &round[T]{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		if !r.spawn(r.loop) {
			r.mu.Unlock()
			return none, errStopped
		}
		r.running = true
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// loop runs until nobody waits.
func (r *rounds[T]) loop() {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		if now == nil {
			r.running = false
		}
		r.mu.Unlock()
		if now == nil {
			return
		}
		now.value, now.err = r.run()
		close(now.done)
	}
}
