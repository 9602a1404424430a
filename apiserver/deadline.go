package apiserver

import (
	"sync"
	"time"
)

// deadline ends what a request reads or writes when it takes too long. A deadline that is set by http.ResponseController
// costs a request over HTTP/2 a message to the goroutine that serves the connection, and so does to take it back;
// nearly none is ever reached. So none is set before it has passed.
type deadline struct {
	// expire is a method of http.ResponseController. Not all connections have deadlines.
	expire func(time.Time) error

	mu    sync.Mutex
	timer *time.Timer
	until time.Time // zero when nothing is under way
}

// start begins something that may take so long.
func (d *deadline) start(limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until = time.Now().Add(limit); d.timer == nil {
		d.timer = time.AfterFunc(limit, d.fire)
		return
	}
	d.timer.Reset(limit)
}

// stop ends it. When it returns, expire is not called any more, as the end of a request demands.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Time{}
	d.timer.Stop()
}

func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until.IsZero() || time.Now().Before(d.until) {
		return // it was stopped, or began anew, as it fired
	}
	_ = d.expire(time.Unix(1, 0))
}
