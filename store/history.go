package store

import (
	"sync"
	"time"
)

// history is the window of kept revisions: base, whose state can be read but whose changes are gone,
// and every revision after it. Writers append; the lock is held for no longer than that.
type history struct {
	maxRevisions int
	maxBytes     int
	aging        aging

	mu      sync.RWMutex
	base    *record
	records []*record // a ring: records[(head+i)%len] is revision base.rev+1+i
	head    int
	count   int
	bytes   int
	rebuilt rebuilt
}

func (h *history) init(base *record, maxRevisions, maxBytes int, maxAge time.Duration) {
	h.aging.init(maxAge, h.expire)
	h.base, h.maxRevisions, h.maxBytes = base, maxRevisions, maxBytes
	h.records = make([]*record, 64)
}

// append adds the next revisions and lets go of the oldest ones beyond the bounds. The newest is always
// kept.
func (h *history) append(records []*record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.aging.now() // the history is not part of the state, so it may read the clock
	for _, r := range records {
		if h.count == len(h.records) {
			h.grow()
		}
		r.at = now
		h.records[(h.head+h.count)%len(h.records)] = r
		h.count++
		h.bytes += r.size
		if h.count > warmRevisions {
			h.records[(h.head+h.count-1-warmRevisions)%len(h.records)].forget()
		}
	}
	for h.count > 1 && (h.count > h.maxRevisions || h.bytes > h.maxBytes) {
		h.drop()
	}
	h.aging.arm(h.oldestAt())
}

// warmRevisions is for how many revisions what was derived from a replaced value is kept. Watchers are seldom further
// behind, and what is derived takes several times the memory of the value, which HistoryBytes does not count.
const warmRevisions = 1000

// forget lets go of what was derived from the values that the record replaced.
func (r *record) forget() {
	for i := range r.events {
		ev := &r.events[i]
		if ev.Prev != nil {
			ev.Prev.forget()
		}
		if ev.Type == EventDelete {
			ev.Entry.forget()
		}
	}
}

func (h *history) grow() {
	bigger := make([]*record, 2*len(h.records))
	for i := range h.count {
		bigger[i] = h.records[(h.head+i)%len(h.records)]
	}
	h.records, h.head = bigger, 0
}

// drop makes the oldest record the new base.
func (h *history) drop() {
	oldest := h.records[h.head]
	h.records[h.head] = nil
	h.head = (h.head + 1) % len(h.records)
	h.count--
	h.bytes -= oldest.size
	h.base = &record{rev: oldest.rev, tree: oldest.anyTree()}
}

// compact lets go of everything before rev, which becomes the oldest that can be read.
func (h *history) compact(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.count > 0 && h.base.rev < rev {
		h.drop()
	}
}

// reset starts over from a restored state.
func (h *history) reset(base *record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.records)
	h.rebuilt = rebuilt{}
	h.base, h.head, h.count, h.bytes = base, 0, 0, 0
}

// at returns the record of a kept revision; that of the base has no events.
func (h *history) at(rev int64) *record {
	if rev == h.base.rev {
		return h.base
	}
	return h.records[(h.head+int(rev-h.base.rev)-1)%len(h.records)]
}

// read copies the records from revision rev on into buf, up to and including last.
func (h *history) read(buf []*record, rev, last int64) (int, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if rev <= h.base.rev {
		return 0, &CompactedError{Oldest: h.base.rev}
	}
	last = min(last, h.base.rev+int64(h.count))
	n := 0
	for ; n < len(buf) && rev <= last; n++ {
		buf[n] = h.at(rev)
		rev++
	}
	return n, nil
}

// oldest is the oldest revision that can be read.
func (h *history) oldest() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.base.rev
}
