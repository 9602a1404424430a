// Package store is a revisioned key-value store with transactions and watches, in your process: etcd's
// model (https://etcd.io/docs/v3.6/learning/data_model/) as a Go value. Every transaction that changes
// something gets the next revision; the recent past can be read and watched. Open gives a store in
// memory; package store/raft makes it durable.
package store

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a store; zero values mean defaults.
type Config struct {
	// HistoryRevisions and HistoryBytes bound how much of the past is kept for watches and reads at
	// a revision: a number of revisions, by default 10,000, and about how many bytes of memory, by
	// default 32 MiB.
	HistoryRevisions int
	HistoryBytes     int
	// MaxTxnBytes bounds the keys and values of one transaction; by default 2 MiB.
	MaxTxnBytes int
	// MaxTxnOps bounds the conditions and operations of one transaction, both branches and all that is
	// nested counted; by default 10,000.
	MaxTxnOps int
	// HistoryAge lets go of revisions that are older, by default never, whether the store is used or not.
	// After a restart all that is left is new.
	HistoryAge time.Duration
	// Events are told what happens in the store.
	Events Events
}

func (c Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name  string
		value *int
		def   int
	}{
		{"HistoryRevisions", &c.HistoryRevisions, 10_000},
		{"HistoryBytes", &c.HistoryBytes, 32 << 20},
		{"MaxTxnBytes", &c.MaxTxnBytes, 2 << 20},
		{"MaxTxnOps", &c.MaxTxnOps, 10_000},
	} {
		if *f.value < 0 {
			return c, fmt.Errorf("store: Config.%s is negative: %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if c.HistoryAge < 0 {
		return c, fmt.Errorf("store: Config.HistoryAge is negative: %v", c.HistoryAge)
	}
	return c, nil
}

// Store is an open store; all methods may be called from any number of goroutines. Reads never wait
// for a writer. What reads and watches return is shared and read-only.
type Store struct {
	cfg      Config
	current  atomic.Pointer[record] // the newest revision
	history  history
	watchers watchers
	// proposals is nil when changes are applied at once, without a log.
	proposals *proposals

	lessor lessor

	done chan struct{} // closed by Close
	once sync.Once

	mu      sync.Mutex // serializes applying; never held across consensus
	machine machine
}

// Open makes an empty store in memory.
func Open(cfg Config) (*Store, error) {
	s, err := newStore(cfg)
	if err == nil {
		s.lessor.serve(&s.machine)
	}
	return s, err
}

// newStore makes an empty store that cares for no leases yet.
func newStore(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, done: make(chan struct{}), machine: newMachine()}
	base := &record{rev: s.machine.rev, tree: s.machine.tree}
	s.current.Store(base)
	s.history.init(base, cfg.HistoryRevisions, cfg.HistoryBytes, cfg.HistoryAge)
	s.watchers.init(s)
	s.lessor.store = s
	return s, nil
}

// Close ends all watches and waiting calls; every call after it fails with ErrClosed.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.done)
		if s.proposals != nil {
			s.proposals.close()
		}
		s.lessor.close()
		s.history.close()
	})
	return nil
}

// Done is closed by Close.
func (s *Store) Done() <-chan struct{} { return s.done }

func (s *Store) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// ready tells why a call cannot start.
func (s *Store) ready(ctx context.Context) error {
	if s.isClosed() {
		return ErrClosed
	}
	return ctx.Err()
}

// Revision is the revision of the newest transaction; an empty store has revision 1.
func (s *Store) Revision() int64 { return s.current.Load().rev }

// Get returns a key's entry, nil when there is none, and the revision that was read.
func (s *Store) Get(ctx context.Context, key string) (*Entry, int64, error) {
	if err := s.ready(ctx); err != nil {
		return nil, 0, err
	}
	v := s.current.Load()
	return v.tree.view().get(key), v.rev, nil
}

// Range returns the entries of a range at one revision. Reading the past fails with a CompactedError
// when it is not kept any more and with ErrFutureRevision when it has not happened yet. A linearizable one
// fails as Sync does.
func (s *Store) Range(ctx context.Context, r Range) (RangeResult, error) {
	switch err := s.ready(ctx); {
	case err != nil:
		return RangeResult{}, err
	case r.Key == "" && r.End == "":
		return RangeResult{}, fmt.Errorf("%w: range without a key", ErrInvalid)
	case r.Limit < 0 || r.Revision < 0:
		return RangeResult{}, fmt.Errorf("%w: range with limit %d at revision %d", ErrInvalid, r.Limit, r.Revision)
	}
	if r.Linearizable {
		if err := s.Sync(ctx); err != nil {
			return RangeResult{}, err
		}
	}
	v := s.current.Load()
	if r.Revision != 0 && r.Revision != v.rev {
		at, err := s.history.treeAt(r.Revision)
		if err != nil {
			return RangeResult{}, err
		}
		v = &record{rev: r.Revision, tree: at}
	}
	if r.SkipCount {
		entries, more := v.tree.view().page(r.Key, r.End, r.Limit)
		return RangeResult{Revision: v.rev, Entries: entries, Count: len(entries), More: more}, nil
	}
	entries, count := v.tree.view().collect(r.Key, r.End, r.Limit)
	return RangeResult{Revision: v.rev, Entries: entries, Count: count, More: count > len(entries)}, nil
}

// Txn runs a transaction. One that can change nothing is a linearizable read, and fails as Sync does. Values are taken over and must not be written to afterwards. Nothing happened
// when the error is ErrInvalid, ErrTooLarge, ErrLeaseNotFound, ErrKeyNotFound, ErrNoLeader, ErrClosed or
// ctx's own. It is ErrUnknownOutcome, with the reason, when the transaction was on its way and may still happen, or have happened.
func (s *Store) Txn(ctx context.Context, t Txn) (TxnResult, error) {
	if err := s.ready(ctx); err != nil {
		return TxnResult{}, err
	}
	if err := s.acceptable(&t); err != nil {
		return TxnResult{}, err
	}
	if !t.writes() {
		if err := s.Sync(ctx); err != nil {
			return TxnResult{}, err
		}
		return s.readTxn(&t)
	}
	return s.change(ctx, request{kind: requestTxn, txn: &t})
}

func (s *Store) acceptable(t *Txn) error {
	if err := t.validate(); err != nil {
		return err
	}
	switch bytes, ops := t.size(); {
	case bytes > s.cfg.MaxTxnBytes:
		return fmt.Errorf("%w: the transaction has %d bytes, the limit is %d", ErrTooLarge, bytes, s.cfg.MaxTxnBytes)
	case ops > s.cfg.MaxTxnOps:
		return fmt.Errorf("%w: the transaction has %d conditions and operations, the limit is %d", ErrTooLarge, ops, s.cfg.MaxTxnOps)
	}
	return nil
}

// Outcome is what became of one of several transactions.
type Outcome struct {
	TxnResult
	Err error
}

// Txns runs transactions one after the other, each as Txn does and with a revision of its own, but waits for
// all of them at once: they share one entry of the log, and with it the write to the disk, or a few when they are
// large. One that fails is of no concern to the others; what relies on another one says so by its conditions.
func (s *Store) Txns(ctx context.Context, txns []Txn) []Outcome {
	out := make([]Outcome, len(txns))
	list, at := make([]request, 0, len(txns)), make([]int, 0, len(txns))
	for i := range txns {
		t := &txns[i]
		if err := cmp.Or(s.ready(ctx), s.acceptable(t)); err != nil {
			out[i].Err = err
			continue
		}
		list, at = append(list, request{kind: requestTxn, txn: t}), append(at, i)
	}
	for i, o := range s.changeAll(ctx, list) {
		out[at[i]] = o
	}
	return out
}

// Sync returns when this replica's state has all that anyone, on any replica, was told of before the call:
// reads after it are linearizable. A store in memory is always in that state.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.ready(ctx); err != nil || s.proposals == nil {
		return err
	}
	return s.proposals.proposer.Confirm(ctx)
}

// readTxn runs a transaction that changes nothing on the newest state.
func (s *Store) readTxn(t *Txn) (TxnResult, error) {
	v := s.current.Load()
	m := machine{tree: v.tree, rev: v.rev}
	w := m.begin()
	return w.apply(t)
}

// publish makes the revisions of a command visible: kept for watchers first, then to readers, then
// announced. s.mu is held.
func (s *Store) publish(records []*record) {
	if len(records) == 0 {
		return
	}
	s.history.append(records)
	s.current.Store(records[len(records)-1])
	s.watchers.announce(records)
}

// Compact lets go of the past before revision rev, which becomes the oldest that can be read; watches
// can start after it. It fails with a CompactedError when that has been done already, and with
// ErrFutureRevision when it has not happened yet.
func (s *Store) Compact(ctx context.Context, rev int64) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	_, err := s.change(ctx, request{kind: requestCompact, rev: rev})
	return err
}

func (s *Store) applyCompact(rev int64) error {
	if rev > s.machine.rev {
		return ErrFutureRevision
	}
	if rev <= s.machine.compacted {
		return &CompactedError{Oldest: s.machine.compacted}
	}
	s.machine.compacted = rev
	s.history.compact(rev)
	if told := s.cfg.Events.Compacted; told != nil {
		told(rev)
	}
	return nil
}
