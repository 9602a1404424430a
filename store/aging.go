package store

import "time"

// aging lets go of revisions by their age. There is a timer only while there are some. All but init is
// guarded by history.mu.
type aging struct {
	max   time.Duration // 0 is for ever
	epoch time.Time     // what times are counted from, so that a clock that is set does not matter
	timer *time.Timer   // nil when max is 0
	armed bool
	done  bool
}

func (a *aging) init(maxAge time.Duration, expire func()) {
	a.max, a.epoch = maxAge, time.Now()
	if maxAge > 0 {
		a.timer = time.AfterFunc(maxAge, expire)
		a.timer.Stop()
	}
}

func (a *aging) now() time.Duration {
	if a.max == 0 {
		return 0
	}
	return time.Since(a.epoch)
}

// arm sees to it that expire is called when what was appended at a time is too old.
func (a *aging) arm(oldest time.Duration, any bool) {
	if a.max == 0 || a.armed || a.done || !any {
		return
	}
	a.armed = true
	a.timer.Reset(oldest + a.max - a.now())
}

// expire drops what is too old now.
func (h *history) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aging.armed = false
	if h.aging.done {
		return
	}
	limit := h.aging.now() - h.aging.max
	for at, any := h.oldestAt(); any && at <= limit; at, any = h.oldestAt() {
		h.drop()
	}
	h.aging.arm(h.oldestAt())
}

// oldestAt is when the oldest record was appended; false when there is none.
func (h *history) oldestAt() (at time.Duration, any bool) {
	if h.count == 0 {
		return 0, false
	}
	return h.records[h.head].at, true
}

// close ends the timer.
func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aging.done = true
	if h.aging.timer != nil {
		h.aging.timer.Stop()
	}
}
