package apiserver

import (
	"context"
	"sync"
	"time"
)

// pacer gathers changes for watches while many of them are told much. To tell a watch of one change costs the server
// and the client a wakeup, a frame and more, whatever is in it; so while more than paceFrom bursts of changes go out in
// paceEvery, a watch that was told of something less than paceEvery ago waits for the others, and what has come by
// then goes out at once. Whoever was told nothing for so long is told at once, always.
type pacer struct {
	mu sync.Mutex
	// began is when the current interval did; sent and before are how many bursts went out in it and the one before.
	began        time.Time
	sent, before int
	next         chan struct{} // is closed when the interval ends, if somebody waits for that
}

const (
	paceEvery = 10 * time.Millisecond
	paceFrom  = 50
)

// wait returns when a watch may send what it has, or ctx ends. Last is when wait returned before; now is for the next.
func (p *pacer) wait(ctx context.Context, last time.Time) (now time.Time) {
	now = time.Now()
	end := p.enter(now, last)
	if end == nil {
		return now
	}
	select {
	case <-end:
	case <-ctx.Done():
	}
	return time.Now()
}

// enter counts a burst, and returns what to wait for.
func (p *pacer) enter(now, last time.Time) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch passed := now.Sub(p.began); {
	case passed >= 2*paceEvery:
		p.began, p.sent, p.before = now, 0, 0
	case passed >= paceEvery:
		p.began, p.sent, p.before = p.began.Add(paceEvery), 0, p.sent
	}
	p.sent++
	if now.Sub(last) >= paceEvery || max(p.sent, p.before) <= paceFrom {
		return nil
	}
	if p.next == nil {
		next := make(chan struct{})
		p.next = next
		time.AfterFunc(p.began.Add(paceEvery).Sub(now), func() {
			p.mu.Lock()
			p.next = nil
			p.mu.Unlock()
			close(next)
		})
	}
	return p.next
}
