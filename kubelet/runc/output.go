package runc

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// output copies what a container writes into its log.
type output struct {
	log    *kubelet.LogWriter // nil: what the container says is dropped
	child  []*os.File         // the container's ends
	parent []*os.File         // ours
	copies sync.WaitGroup
}

// drainPatience bounds the wait for the end of a stream that an orphan holds open.
const drainPatience = time.Second

// openOutput connects a container's streams to its log.
func (c *container) openOutput() (*output, error) {
	o := &output{}
	var err error
	if c.cfg.LogPath != "" {
		if o.log, err = kubelet.OpenLogWriter(c.cfg.LogPath, 0, 0); err != nil {
			return nil, err
		}
	}
	if c.cfg.TTY {
		err = o.openTerminal(c)
	} else {
		err = o.openPipes(c)
	}
	if err != nil {
		o.abort()
		return nil, err
	}
	return o, nil
}

func (o *output) openPipes(c *container) error {
	stdout, err := o.pipe("stdout")
	if err != nil {
		return err
	}
	stderr, err := o.pipe("stderr")
	if err != nil {
		return err
	}
	c.proc.Stdout, c.proc.Stderr = stdout, stderr
	if !c.cfg.Stdin {
		return nil // /dev/null
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// The other end stays open, so that the container waits for input rather than see its end.
	o.child, o.parent = append(o.child, r), append(o.parent, w)
	c.proc.Stdin = r
	return nil
}

func (o *output) pipe(stream string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.child, o.parent = append(o.child, w), append(o.parent, r)
	o.copies.Go(func() { o.copyFrom(stream, r) })
	return w, nil
}

// openTerminal receives the terminal that libcontainer makes in the container.
func (o *output) openTerminal(c *container) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	// Closing our end ends a read from it only when the runtime's poller does the waiting.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return os.NewSyscallError("setnonblock", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "console-child")
	o.child, o.parent = append(o.child, theirs), append(o.parent, ours)
	c.proc.ConsoleSocket, c.proc.ConsoleWidth, c.proc.ConsoleHeight = theirs, 80, 24
	o.copies.Go(func() {
		master, err := receiveFile(ours)
		if err != nil {
			return // the container did not start
		}
		defer master.Close()
		_ = console.ClearONLCR(master.Fd())
		o.copyFrom("stdout", master)
	})
	return nil
}

// receiveFile receives an open file from the other end of a socket.
func receiveFile(socket *os.File) (*os.File, error) {
	conn, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	oob, n := make([]byte, unix.CmsgSpace(4)), 0
	var got error
	if err := conn.Read(func(fd uintptr) bool {
		_, n, _, _, got = unix.Recvmsg(int(fd), make([]byte, 4096), oob, unix.MSG_CMSG_CLOEXEC)
		return got != unix.EAGAIN && got != unix.EINTR
	}); err != nil {
		return nil, err
	}
	if got != nil {
		return nil, os.NewSyscallError("recvmsg", got)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) > 0 {
			return os.NewFile(uintptr(fds[0]), "terminal"), nil
		}
	}
	return nil, errors.New("no file came")
}

// closeChild closes the container's ends, which it has by now or never will.
func (o *output) closeChild() {
	for _, f := range o.child {
		f.Close()
	}
	o.child = nil
}

// finish waits until all that the container wrote is in the log.
func (o *output) finish() {
	timer := time.AfterFunc(drainPatience, o.closeParent)
	o.copies.Wait()
	timer.Stop()
	o.closeParent()
	o.closeLog()
}

// abort gives up on a container that did not start.
func (o *output) abort() {
	o.closeChild() // the terminal is awaited until its other end is closed
	o.closeParent()
	o.copies.Wait()
	o.closeLog()
}

func (o *output) closeParent() {
	for _, f := range o.parent {
		f.Close()
	}
}

// copyFrom reads to the end even if nothing can be written, lest the container block.
func (o *output) copyFrom(stream string, r io.Reader) {
	if o.log != nil {
		_ = o.log.Copy(stream, r)
	}
	_, _ = io.Copy(io.Discard, r)
}

func (o *output) closeLog() {
	if o.log != nil {
		_ = o.log.Close()
	}
}
