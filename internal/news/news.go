// Package news hands names to one reader: whoever tells of news never waits, and names that queue are kept once.
package news

import (
	"slices"
	"sync"
)

// Queue hands out names, such as UIDs of pods, in the order in which they were told. It never holds more than there
// are names.
type Queue struct {
	out  chan string
	wake chan struct{}
	quit chan struct{}
	done chan struct{}
	end  sync.Once

	mu      sync.Mutex
	pending []string
}

// Open returns an empty queue.
func Open() *Queue {
	q := &Queue{out: make(chan string), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// Tell adds a name unless it waits already behind the one on offer, which the reader may just have taken. It never
// blocks; after Close it has no effect.
func (q *Queue) Tell(name string) {
	q.mu.Lock()
	if !slices.Contains(q.pending, name) {
		q.pending = append(q.pending, name)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Out is where names are read; Close closes it.
func (q *Queue) Out() <-chan string { return q.out }

// Close drops what is not read yet, and waits until nothing is handed out any more. Closing again does nothing.
func (q *Queue) Close() {
	q.end.Do(func() { close(q.quit) })
	<-q.done
}

func (q *Queue) next() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		return "", false
	}
	name := q.pending[0]
	q.pending = q.pending[1:]
	return name, true
}

func (q *Queue) run() {
	defer close(q.done)
	defer close(q.out)
	for {
		name, ok := q.next()
		if !ok {
			select {
			case <-q.wake:
				continue
			case <-q.quit:
				return
			}
		}
		select {
		case q.out <- name:
		case <-q.quit:
			return
		}
	}
}
