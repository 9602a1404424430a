package h2

import (
	"runtime"
	"sync"
)

// workers run handlers. A goroutine that has run one waits for the next, so that its stack need not grow again: to
// grow it step by step, as deep as requests go, takes more time than to serve a small one.
type workers struct {
	mu    sync.Mutex
	idle  []chan *stream // the one that waits since the shortest time is the last
	ended bool
}

// maxIdle is how many goroutines wait.
var maxIdle = 8 * runtime.GOMAXPROCS(0)

// run runs a stream's handler in a goroutine of its own.
func (w *workers) run(st *stream) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		next := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		next <- st
		return
	}
	w.mu.Unlock()
	go w.work(st)
}

func (w *workers) work(st *stream) {
	next := make(chan *stream, 1)
	for st != nil {
		st.handle()
		st = nil
		w.mu.Lock()
		if w.ended || len(w.idle) >= maxIdle {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, next)
		w.mu.Unlock()
		st = <-next
	}
}

// end lets the waiting goroutines go, and those that come back.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
}
