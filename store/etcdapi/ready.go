package etcdapi

import "sync"

// readyList are the watches of a stream that have something to send, each once. The store's writers put them
// in, the stream's goroutine takes them out: a thousand watches that hear of a change wake one goroutine, and
// a quiet watch costs nothing but its struct. A goroutine for each would cost a stack and a wake-up each, and
// they would queue for the stream, which sends one message at a time.
type readyList struct {
	signal chan struct{} // has a token when the list may not be empty

	mu    sync.Mutex
	queue []*watch
	head  int
}

// push is called within the store's locks; it calls nothing and waits for nobody.
func (l *readyList) push(w *watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.queued {
		return
	}
	w.queued = true
	l.queue = append(l.queue, w)
	l.wake()
}

func (l *readyList) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// pop takes the first; nil when there is none. What becomes ready from now on is put in again.
func (l *readyList) pop() *watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head == len(l.queue) {
		return nil
	}
	w := l.queue[l.head]
	l.queue[l.head] = nil
	w.queued = false
	if l.head++; l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	}
	return w
}

// resignal gives the token back when somebody is left.
func (l *readyList) resignal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head < len(l.queue) {
		l.wake()
	}
}

func (l *readyList) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) - l.head
}

func (l *readyList) empty() bool { return l.len() == 0 }

func (l *readyList) has(w *watch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.queued
}
