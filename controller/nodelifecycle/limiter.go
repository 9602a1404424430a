package nodelifecycle

import (
	"sync"
	"time"
)

// limiter lets one through per interval.
type limiter struct {
	interval time.Duration
	mu       sync.Mutex
	next     time.Time
}

// take returns 0 when it lets the caller through, else how long to wait before asking again.
func (l *limiter) take(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.next.Sub(now); wait > 0 {
		return wait
	}
	l.next = now.Add(l.interval)
	return 0
}

// refund undoes a take that came to nothing.
func (l *limiter) refund() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = l.next.Add(-l.interval)
}
