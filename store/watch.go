package store

import (
	"context"
	"fmt"
	"sync"
)

// WatchConfig tells what to watch.
type WatchConfig struct {
	// Key alone watches one key; with End, the range [Key, End). See PrefixEnd.
	Key, End string
	// Revision is the first revision wanted, which may be of the future; 0 is the next one.
	Revision int64
	// Prev asks for the state before each change in Event.Prev.
	Prev bool
	// SkipPuts and SkipDeletes leave changes of that kind out.
	SkipPuts, SkipDeletes bool
	// Notify, when set, is called when a watcher that had nothing for TryNext may have something: one
	// goroutine can then serve any number of watchers. It is called within the store's locks, maybe before
	// Watch returns: it must return at once and call nothing of the store.
	Notify func()
}

// Watcher is a cursor over the store's kept history: it sees every change of its range once, in
// order, without a gap. It costs neither a goroutine nor a queue, so a slow one harms nobody; when
// the history that it still needs is let go of, it ends with a CompactedError. Next and Progress are
// for one goroutine at a time, Close for any.
type Watcher struct {
	cfg   WatchConfig
	store *Store
	wake  chan struct{} // has a token when first was set since last looked at
	done  chan struct{}
	once  sync.Once

	mu sync.Mutex
	// next is the first revision not yet looked at or known to be of no interest. Changes of interest
	// lie within [first, last]; first is 0 when there are none.
	next, first, last int64

	buf    [16]*record
	cutOff bool // told of to Events.WatcherCutOff
}

// Watch starts a watch. It fails with a CompactedError when the first revision wanted is not kept
// any more.
func (s *Store) Watch(cfg WatchConfig) (*Watcher, error) {
	switch {
	case s.isClosed():
		return nil, ErrClosed
	case cfg.Key == "" && cfg.End == "":
		return nil, fmt.Errorf("%w: watch without a key", ErrInvalid)
	case cfg.Revision < 0:
		return nil, fmt.Errorf("%w: watch from the negative revision %d", ErrInvalid, cfg.Revision)
	}
	w := &Watcher{cfg: cfg, store: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.watchers.add(w, cfg.Revision); err != nil {
		return nil, err
	}
	if from, _ := w.pending(); from != 0 && cfg.Notify != nil {
		cfg.Notify()
	}
	return w, nil
}

// Next returns what the next transaction changed in the watched range, and waits for one if need be.
// The error is ctx's, a *CompactedError, or ErrClosed after Close of the watcher or the store. The
// batch is shared and read-only.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	for {
		select {
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		case <-w.done:
			return Batch{}, ErrClosed
		case <-w.store.done:
			return Batch{}, ErrClosed
		default:
		}
		if from, to := w.pending(); from != 0 {
			batch, found, err := w.look(from, to)
			if found || err != nil {
				return batch, err
			}
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-w.done:
		case <-w.store.done:
		}
	}
}

// TryNext is Next without waiting; it is false when there is nothing, and then Notify tells of more. It
// looks through a bounded part of the history: without a batch it may be true that there is more to look
// through, and Notify has been called again.
func (w *Watcher) TryNext() (Batch, bool, error) {
	select {
	case <-w.done:
		return Batch{}, false, ErrClosed
	case <-w.store.done:
		return Batch{}, false, ErrClosed
	default:
	}
	for range tryReads {
		from, to := w.pending()
		if from == 0 {
			return Batch{}, false, nil
		}
		if batch, found, err := w.look(from, to); found || err != nil {
			return batch, found, err
		}
	}
	if from, _ := w.pending(); from != 0 && w.cfg.Notify != nil {
		w.cfg.Notify()
	}
	return Batch{}, false, nil
}

// tryReads bounds how much of the history one TryNext looks through, in reads of a watcher's buffer.
const tryReads = 64

// Progress returns the revision up to which Next has returned everything of the watched range.
func (w *Watcher) Progress() int64 {
	// Asked before the watcher's own state: what was announced by now is in it.
	announced := w.store.watchers.announced.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != 0 {
		return w.first - 1
	}
	return announced
}

// Close ends the watch and a waiting Next.
func (w *Watcher) Close() {
	w.once.Do(func() {
		w.store.watchers.remove(w)
		close(w.done)
	})
}

func (w *Watcher) pending() (from, to int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first, w.last
}

// look searches [from, to] for the first record of interest.
func (w *Watcher) look(from, to int64) (Batch, bool, error) {
	n, err := w.store.history.read(w.buf[:], from, to)
	if err != nil {
		if told := w.store.cfg.Events.WatcherCutOff; told != nil && !w.cutOff {
			told(w.cfg.Key, w.cfg.End)
		}
		w.cutOff = true
		return Batch{}, false, err
	}
	defer clear(w.buf[:n])
	for _, r := range w.buf[:n] {
		if events := w.filter(r.events); len(events) > 0 {
			w.advance(r.rev + 1)
			return Batch{Revision: r.rev, Events: events}, true, nil
		}
	}
	w.advance(from + int64(n))
	return Batch{}, false, nil
}

// advance notes that everything before next has been looked at.
func (w *Watcher) advance(next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = next
	if w.first = next; next > w.last {
		w.first, w.last = 0, 0
	}
}

// notify notes a change of interest; the caller announces revisions in order.
func (w *Watcher) notify(typ EventType, rev int64) {
	if w.skips(typ) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if rev < w.next || rev == w.last {
		return
	}
	w.last = rev
	if w.first == 0 {
		w.first = rev
		w.wakeUp()
	}
}

func (w *Watcher) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
	if w.cfg.Notify != nil {
		w.cfg.Notify()
	}
}

// reset makes the watcher look through another history, that ends with rev, from the first revision that
// was not announced on; 0 means that there is nothing in it for the watcher.
func (w *Watcher) reset(from, rev int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case from == 0:
		w.next, w.first, w.last = 1, 1, rev // never kept: see history.read
	case rev < w.next || (rev < from && w.first == 0):
		return
	case w.first == 0:
		w.first, w.last = max(w.next, from), rev
	default:
		w.last = rev
	}
	w.wakeUp()
}

// filter returns the events of the watched range. They are the record's own when all of them are and
// nothing has to be left out.
func (w *Watcher) filter(events []Event) []Event {
	n := 0
	for i := range events {
		if w.wants(&events[i]) {
			n++
		}
	}
	if n == 0 || (n == len(events) && w.cfg.Prev) {
		return events[:n]
	}
	some := make([]Event, 0, n)
	for i := range events {
		if w.wants(&events[i]) {
			ev := events[i]
			if !w.cfg.Prev {
				ev.Prev = nil
			}
			some = append(some, ev)
		}
	}
	return some
}

func (w *Watcher) skips(typ EventType) bool {
	return (typ == EventPut && w.cfg.SkipPuts) || (typ == EventDelete && w.cfg.SkipDeletes)
}

func (w *Watcher) wants(ev *Event) bool {
	return !w.skips(ev.Type) && inRange(ev.Entry.Key, w.cfg.Key, w.cfg.End)
}
