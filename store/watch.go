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
	missed bool // the last look found nothing
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
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		if w.isClosed() {
			return Batch{}, ErrClosed
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
	if w.isClosed() {
		return Batch{}, false, ErrClosed
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

// isClosed asks one channel after the other, which costs far less than to ask both at once.
func (w *Watcher) isClosed() bool {
	select {
	case <-w.done:
		return true
	default:
		return w.store.isClosed()
	}
}

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
	// The first one is mostly of interest already.
	buf := w.buf[:1]
	if w.missed {
		buf = w.buf[:]
	}
	n, err := w.store.history.read(buf, from, to)
	if err != nil {
		if told := w.store.cfg.Events.WatcherCutOff; told != nil && !w.cutOff {
			told(w.cfg.Key, w.cfg.End)
		}
		w.cutOff = true
		return Batch{}, false, err
	}
	w.missed = false
	defer clear(w.buf[:n])
	for _, r := range w.buf[:n] {
		if events := w.filter(r); len(events) > 0 {
			w.advance(r.rev + 1)
			return Batch{Revision: r.rev, Events: events}, true, nil
		}
	}
	w.missed = true
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

// notify notes changes of the watched range; the caller announces revisions in order.
func (w *Watcher) notify(c *news) {
	first, last := w.ofInterest(c)
	if first == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if last < w.next {
		return
	}
	w.last = last
	if w.first == 0 {
		w.first = max(first, w.next)
		w.wakeUp()
	}
}

// ofInterest returns the first and the last revision with a change that is not skipped.
func (w *Watcher) ofInterest(c *news) (first, last int64) {
	for typ := range c {
		if c[typ].first == 0 || w.skips(EventType(typ)) {
			continue
		}
		if first == 0 || c[typ].first < first {
			first = c[typ].first
		}
		last = max(last, c[typ].last)
	}
	return first, last
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

// filter returns the events of the watched range. When all of them are, they are the record's own.
func (w *Watcher) filter(r *record) []Event {
	n := 0
	for i := range r.events {
		if w.wants(&r.events[i]) {
			n++
		}
	}
	events := r.events
	if !w.cfg.Prev && n > 0 {
		events = r.withoutPrev()
	}
	if n == 0 || n == len(events) {
		return events[:n:n]
	}
	some := make([]Event, 0, n)
	for i := range events {
		if w.wants(&events[i]) {
			some = append(some, events[i])
		}
	}
	return some
}

// withoutPrev is the record's events without Event.Prev: made once, for all watchers that did not ask for it.
func (r *record) withoutPrev() []Event {
	if made := r.bare.Load(); made != nil {
		return *made
	}
	bare := make([]Event, len(r.events))
	for i := range bare {
		bare[i] = Event{Type: r.events[i].Type, Entry: r.events[i].Entry}
	}
	r.bare.Store(&bare)
	return bare
}

func (w *Watcher) skips(typ EventType) bool {
	return (typ == EventPut && w.cfg.SkipPuts) || (typ == EventDelete && w.cfg.SkipDeletes)
}

func (w *Watcher) wants(ev *Event) bool {
	return !w.skips(ev.Type) && inRange(ev.Entry.Key, w.cfg.Key, w.cfg.End)
}
