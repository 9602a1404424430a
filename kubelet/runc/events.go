package runc

import "sync"

// events hands pods' UIDs to one reader. What is not read yet is kept once per pod, so that nobody
// who reports waits, and nothing grows beyond the number of pods.
type events struct {
	out  chan string
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	pending []string
}

func startEvents() *events {
	e := &events{out: make(chan string), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go e.loop()
	return e
}

func (e *events) report(uid string) {
	e.mu.Lock()
	found := false
	for _, p := range e.pending {
		found = found || p == uid
	}
	if !found {
		e.pending = append(e.pending, uid)
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *events) next() (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.pending) == 0 {
		return "", false
	}
	uid := e.pending[0]
	e.pending = e.pending[1:]
	return uid, true
}

func (e *events) loop() {
	defer close(e.done)
	defer close(e.out)
	for {
		uid, ok := e.next()
		if !ok {
			select {
			case <-e.wake:
				continue
			case <-e.quit:
				return
			}
		}
		select {
		case e.out <- uid:
		case <-e.quit:
			return
		}
	}
}

func (e *events) stop() {
	close(e.quit)
	<-e.done
}
