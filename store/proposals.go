package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Proposer is a replicated log, as a store needs it.
type Proposer interface {
	// Propose appends a command to the log and returns when Replica.Apply was called with it on this
	// replica. An error means that this did not and will not happen, such as ErrNoLeader; when that
	// is not sure, it is an ErrUnknownOutcome. ctx ends when the store is closed. The command must
	// not be kept after the call by an implementation that does not need it for its log. Several calls
	// may be under way at once, in any order.
	Propose(ctx context.Context, command []byte) error
	// Confirm returns when this replica has applied all that anyone, anywhere, was told of before the
	// call. An error, such as ErrNoLeader, means that this could not be found out.
	Confirm(ctx context.Context) error
	// KeepAlive and Remaining ask the leader's replica (Replica.KeepAlive, Replica.Remaining).
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)
	Remaining(ctx context.Context, id LeaseID) (time.Duration, error)
}

// How much may share one entry of the log.
const (
	maxBatchRequests = 1024
	maxBatchBytes    = 1 << 20
)

// proposal is one caller's change on its way through the log.
type proposal struct {
	request

	res  TxnResult
	err  error
	done chan struct{} // gets one token when res or err is set
	// taken tells that the proposal left the queue, guarded by proposals.mu.
	taken bool
}

// proposals gathers what many callers propose at the same time into few entries of the log: while
// one entry is on its way to the disk, the next fills up.
type proposals struct {
	proposer Proposer
	replica  uint64
	proposed func(requests, bytes int, took time.Duration, err error) // Events.Proposed

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []*proposal
	number uint64
	closed bool
	// last is how many proposals the last batch had.
	last int
	// pending are the proposed batches that have not been applied yet.
	pending map[proposalID][]*proposal
}

func newProposals(p Proposer, replica uint64) *proposals {
	ps := &proposals{proposer: p, replica: replica, pending: map[proposalID][]*proposal{}}
	ps.cond = sync.NewCond(&ps.mu)
	return ps
}

// propose waits until the proposal is applied, fails, or ctx ends.
func (ps *proposals) propose(ctx context.Context, p *proposal) error {
	if err := ps.enqueue(p); err != nil {
		return err
	}
	return ps.await(ctx, p)
}

// enqueue takes proposals in; they stay together as far as they fit into one command.
func (ps *proposals) enqueue(list ...*proposal) error {
	for _, p := range list {
		p.done = make(chan struct{}, 1)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return ErrClosed
	}
	ps.queue = append(ps.queue, list...)
	ps.cond.Signal()
	return nil
}

func (ps *proposals) await(ctx context.Context, p *proposal) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if ps.withdraw(p) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
}

// withdraw takes a proposal back; it fails when that is too late.
func (ps *proposals) withdraw(p *proposal) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.taken {
		return false
	}
	for i, q := range ps.queue {
		if q == p {
			ps.queue = append(ps.queue[:i], ps.queue[i+1:]...)
			return true
		}
	}
	return true
}

// run proposes batch after batch until close.
func (ps *proposals) run(ctx context.Context) {
	for {
		batch, id := ps.take()
		if batch == nil {
			return
		}
		command, began := encodeBatch(batch, id), time.Now()
		err := ps.proposer.Propose(ctx, command)
		ps.settle(id, err)
		if ps.proposed != nil {
			ps.proposed(len(batch), len(command), time.Since(began), err)
		}
	}
}

// take waits for proposals and takes as many as fit into one command; nil after close.
func (ps *proposals) take() ([]*proposal, proposalID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for len(ps.queue) == 0 && !ps.closed {
		ps.cond.Wait()
		ps.gather() // may end with none left: their callers can withdraw them
	}
	if ps.closed {
		return nil, proposalID{}
	}
	n := batchLen(ps.queue)
	ps.last = n
	batch := ps.queue[:n:n]
	if ps.queue = ps.queue[n:]; len(ps.queue) == 0 {
		ps.queue = nil
	}
	for _, p := range batch {
		p.taken = true
	}
	ps.number++
	id := proposalID{ps.replica, ps.number}
	ps.pending[id] = batch
	return batch, id
}

// gatherRounds bounds how often gather lets others go first.
const gatherRounds = 8

// gather lets callers that are about to propose do so before the batch is closed, as long as more come. An entry of
// the log costs a write to the disk and some switches between goroutines whatever its size: where the processors
// are busy, with the calls of many clients, small entries would take from them what the calls need. An idle program
// and a caller alone lose nothing. It is called with mu held, and holds it when it returns.
func (ps *proposals) gather() {
	if ps.last < 2 && len(ps.queue) < 2 {
		return
	}
	for range gatherRounds {
		before := len(ps.queue)
		ps.mu.Unlock()
		runtime.Gosched()
		ps.mu.Lock()
		if len(ps.queue) == before {
			return
		}
	}
}

// batchLen tells how many of a queue go into the next command.
func batchLen(queue []*proposal) int {
	bytes := 0
	for i, p := range queue {
		bytes += p.size()
		if i == maxBatchRequests || (i > 0 && bytes > maxBatchBytes) {
			return i
		}
	}
	return len(queue)
}

func encodeBatch(batch []*proposal, id proposalID) []byte {
	size := commandHeader + commandTrailer
	for _, p := range batch {
		size += p.size()
	}
	b := appendHeader(make([]byte, 0, size), id)
	for _, p := range batch {
		b = appendRequest(b, &p.request)
	}
	return appendTrailer(b)
}

// claim returns the proposals that a command of this replica stands for, for their results; nil when
// it is another replica's.
func (ps *proposals) claim(id proposalID) []*proposal {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	batch := ps.pending[id]
	delete(ps.pending, id)
	return batch
}

// settle ends what was proposed but not applied.
func (ps *proposals) settle(id proposalID, err error) {
	if err == nil {
		// A log that says so without applying breaks its contract; its callers must not hang.
		err = fmt.Errorf("%w: the log did not apply the command", ErrUnknownOutcome)
	}
	finish(ps.claim(id), err)
}

func finish(batch []*proposal, err error) {
	for _, p := range batch {
		p.err = err
		p.done <- struct{}{}
	}
}

// close fails everything that waits.
func (ps *proposals) close() {
	ps.mu.Lock()
	ps.closed = true
	queue := ps.queue
	ps.queue = nil
	ps.cond.Broadcast()
	ps.mu.Unlock()
	finish(queue, ErrClosed)
}
