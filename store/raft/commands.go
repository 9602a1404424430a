package raft

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/inboard/inboard/store"
)

type commandID = [16]byte

// commands tells those who proposed a command that it came out of the log.
type commands struct {
	mu      sync.Mutex
	waiting map[commandID]*expectation
}

type expectation struct {
	commands *commands
	id       commandID
	done     chan struct{} // closed when the command was applied
}

// expect begins to wait for a command.
func (c *commands) expect(command []byte) (*expectation, error) {
	id, ok := store.CommandID(command)
	if !ok {
		return nil, fmt.Errorf("%w: not a command", store.ErrInvalid)
	}
	e := &expectation{commands: c, id: id, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[commandID]*expectation{}
	}
	c.waiting[id] = e
	return e, nil
}

func (e *expectation) forget() {
	e.commands.mu.Lock()
	defer e.commands.mu.Unlock()
	delete(e.commands.waiting, e.id)
}

// within tells whether the command is applied, now or within a time.
func (e *expectation) within(ctx context.Context, d time.Duration) bool {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case <-e.done:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}

// applied tells that a command was applied.
func (c *commands) applied(command []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return
	}
	id, _ := store.CommandID(command)
	if e := c.waiting[id]; e != nil {
		close(e.done)
		delete(c.waiting, id)
	}
}

// keepForwards is how many forwarded commands the leader remembers, to know those that come again.
const keepForwards = 4096

// forwards are the commands that other members have forwarded, the newest ones.
type forwards struct {
	mu   sync.Mutex
	byID map[commandID]*forwardedCommand
	ring [keepForwards]commandID
	next int
}

// forwardedCommand is what became of a command; at and err are set when done is closed.
type forwardedCommand struct {
	done chan struct{}
	at   position
	err  error
}

// begin returns a command's record and whether it is new.
func (f *forwards) begin(id commandID) (*forwardedCommand, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.byID[id]; c != nil {
		return c, false
	}
	if f.byID == nil {
		f.byID = map[commandID]*forwardedCommand{}
	}
	delete(f.byID, f.ring[f.next])
	f.ring[f.next] = id
	f.next = (f.next + 1) % len(f.ring)
	c := &forwardedCommand{done: make(chan struct{})}
	f.byID[id] = c
	return c, true
}

func (f *forwards) forget(id commandID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byID, id)
}
