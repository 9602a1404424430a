//go:build linux

package process

import (
	"slices"
	"sync"
)

// notifier hands out the UIDs of pods with news, each at most once until it is read, so that
// nobody who tells of news waits.
type notifier struct {
	mu      sync.Mutex
	pending []string
	closed  bool
	wake    chan struct{}
	quit    chan struct{}
	out     chan string
	done    chan struct{}
}

func newNotifier() *notifier {
	n := &notifier{wake: make(chan struct{}, 1), quit: make(chan struct{}), out: make(chan string), done: make(chan struct{})}
	go n.run()
	return n
}

func (n *notifier) tell(uid string) {
	n.mu.Lock()
	if !slices.Contains(n.pending, uid) {
		n.pending = append(n.pending, uid)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) run() {
	defer close(n.done)
	defer close(n.out)
	for {
		n.mu.Lock()
		var uid string
		some := len(n.pending) > 0
		if some {
			uid, n.pending = n.pending[0], n.pending[1:]
		}
		n.mu.Unlock()
		if !some {
			select {
			case <-n.wake:
				continue
			case <-n.quit:
				return
			}
		}
		select {
		case n.out <- uid:
		case <-n.quit:
			return
		}
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.quit)
	}
	n.mu.Unlock()
	<-n.done
}
