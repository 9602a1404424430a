package runc

import (
	"context"
	"runtime"
	"sync"
)

// starterThreads is how many containers start at once.
const starterThreads = 4

// starters are threads that live until the program ends or the Runtime is closed. The kernel's
// "parent death signal" follows the thread that forked, not its process: containers are forked by
// these threads only, so that they are killed when the program dies, and not before.
type starters struct {
	work chan func()
	done sync.WaitGroup
}

func startStarters() *starters {
	s := &starters{work: make(chan func())}
	for range starterThreads {
		s.done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for f := range s.work {
				f()
			}
		})
	}
	return s
}

// do runs f on one of the threads and waits for it. It waits for a free thread only until ctx ends;
// a start that has begun is not broken off.
func (s *starters) do(ctx context.Context, f func() error) (err error) {
	done := make(chan struct{})
	job := func() {
		defer close(done)
		err = f()
	}
	select {
	case s.work <- job:
		<-done
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *starters) stop() {
	close(s.work)
	s.done.Wait()
}
