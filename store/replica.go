package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// Replica is one copy of a replicated store: a Store whose changes come out of a log. Whoever owns the
// log calls Apply, Snapshot and Restore; everybody else uses the Store.
type Replica struct {
	store  *Store
	cancel context.CancelFunc
	wg     sync.WaitGroup

	failure error // guarded by store.mu
}

// OpenReplica makes an empty replica that proposes its changes to p. Calls that change something wait
// until p has come back to Apply.
func OpenReplica(cfg Config, p Proposer) (*Replica, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	s.proposals = newProposals(p, binary.LittleEndian.Uint64(id[:]))
	s.proposals.proposed = s.cfg.Events.Proposed
	ctx, cancel := context.WithCancel(context.Background())
	r := &Replica{store: s, cancel: cancel}
	r.wg.Go(func() { s.proposals.run(ctx) })
	return r, nil
}

// Store is the replica's store.
func (r *Replica) Store() *Store { return r.store }

// Close closes the store and waits until nothing is being proposed any more.
func (r *Replica) Close() error {
	err := r.store.Close()
	r.cancel()
	r.wg.Wait()
	return err
}

// Apply applies the next command of the log. The same commands give the same state on every replica,
// so a command that cannot be understood must not be skipped: the replica then refuses all further
// ones with the same error, and the caller must stop it.
func (r *Replica) Apply(cmd []byte) error {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.failure == nil {
		r.failure = r.apply(cmd)
	}
	return r.failure
}

func (r *Replica) apply(cmd []byte) error {
	id, _, err := decodeHeader(cmd)
	if err != nil {
		return err
	}
	began := time.Now()
	if batch := r.store.proposals.claim(id); batch != nil {
		r.applyOwn(batch)
		r.applied(len(batch), began)
		return nil
	}
	c, err := decodeCommand(cmd)
	if err != nil {
		return fmt.Errorf("command after revision %d: %w", r.store.machine.rev, err)
	}
	w := r.store.machine.begin()
	for i := range c.requests {
		_, _ = r.store.apply(&w, &c.requests[i]) // its caller, elsewhere, is told
	}
	r.store.publish(w.commit())
	r.applied(len(c.requests), began)
	return nil
}

func (r *Replica) applied(requests int, began time.Time) {
	if told := r.store.cfg.Events.Applied; told != nil {
		told(requests, r.store.machine.rev, time.Since(began))
	}
}

// applyOwn applies what this replica proposed from the callers' own values: the bytes that others
// decode were made from them, and Op.Decoded is still there.
func (r *Replica) applyOwn(batch []*proposal) {
	w := r.store.machine.begin()
	for _, p := range batch {
		p.res, p.err = r.store.apply(&w, &p.request)
	}
	r.store.publish(w.commit())
	for _, p := range batch { // only now: its caller may read at once
		p.done <- struct{}{}
	}
}

// Snapshot returns the state after the last command that was applied, with the kept history. It costs next
// to nothing: all of it is immutable and written out while others go on.
func (r *Replica) Snapshot() Snapshot {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	state := Snapshot{machine: s.machine}
	state.base, state.records = s.history.window()
	return state
}

// Restore replaces the state by a snapshot's, and the history by what leads to that. On an error the state
// is as before. Watches go on where the history that they need is in the snapshot; the others get a
// CompactedError.
func (r *Replica) Restore(from io.Reader) error {
	state, err := readSnapshot(from)
	if err != nil {
		return err
	}
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore(state)
	return nil
}
