//go:build linux

package process

import (
	"os/exec"
	goruntime "runtime"
	"sync"
)

// starter starts all processes from one thread. The kernel sends a process its parent-death signal
// when the thread that started it ends, and Go's threads come and go; this one lasts.
type starter struct {
	jobs chan job
	once sync.Once
	done chan struct{}
}

type job struct {
	cmd    *exec.Cmd
	result chan error
}

func newStarter() *starter {
	s := &starter{jobs: make(chan job), done: make(chan struct{})}
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		defer close(s.done)
		for j := range s.jobs {
			j.result <- j.cmd.Start()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	j := job{cmd, make(chan error, 1)}
	s.jobs <- j
	return <-j.result
}

// close ends the thread; all processes must have ended.
func (s *starter) close() {
	s.once.Do(func() { close(s.jobs) })
	<-s.done
}
