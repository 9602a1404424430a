package runc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// initName is what the kernel calls the copy of the program until it becomes the container's command.
const initName = "runc:[2:INIT]\n"

const (
	execPatience = time.Second
	execPoll     = 200 * time.Microsecond
)

// awaitExec waits until a container's first process runs its command. libcontainer returns a moment
// before, and a signal that came in between would hit the copy of the program.
func awaitExec(pid int) {
	comm := fmt.Sprintf("/proc/%d/comm", pid)
	for deadline := time.Now().Add(execPatience); time.Now().Before(deadline); time.Sleep(execPoll) {
		name, err := os.ReadFile(comm)
		if err != nil || string(name) != initName {
			return
		}
	}
}

// catches tells whether a process has a handler for a signal. To the first process of a namespace
// the kernel delivers no signal (other than SIGKILL) that it does not handle. A process that is gone
// counts as one that does.
func catches(pid int, sig unix.Signal) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	_, rest, ok := bytes.Cut(data, []byte("\nSigCgt:\t"))
	line, _, ok2 := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(line), 16, 64)
	return !ok || !ok2 || err != nil || mask&(1<<(uint(sig)-1)) != 0
}

// signalPatience is how long after its start a program may take to handle its stop signal.
const signalPatience = 5 * time.Second

// signalWhenCaught sends the stop signal. To a program that has just been started, and does not handle
// it yet, it is sent again once it does: the kernel has dropped the first one. It returns when the
// signal is out, when done is closed, or when the program seems not to mean to handle it.
func (c *container) signalWhenCaught(r *Runtime, sig unix.Signal, started time.Time, done <-chan struct{}) {
	pid, err := c.proc.Pid()
	caught := err != nil || catches(pid, sig)
	c.signal(r, sig)
	for wait := time.Millisecond; !caught && time.Since(started) < signalPatience; wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		if caught = catches(pid, sig); caught {
			c.signal(r, sig)
		}
	}
}
