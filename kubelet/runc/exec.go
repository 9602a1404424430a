package runc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// Exec implements kubelet.Runtime. The command has the container's user, environment, working
// directory, capabilities and limits. When ctx ends it is killed.
func (r *Runtime) Exec(ctx context.Context, id string, cmd []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	c, done, err := r.enterContainer(ctx, id)
	if err != nil {
		return 0, err
	}
	defer done()
	if len(cmd) == 0 {
		return 0, errors.New("runc: exec: no command")
	}
	r.mu.Lock()
	running := c.status.State == kubelet.ContainerRunning
	r.mu.Unlock()
	if !running {
		return 0, fmt.Errorf("exec in container %q: %w", c.cfg.Name, kubelet.ErrNotRunning)
	}
	s, err := openStreams(stdin, stdout, stderr)
	if err != nil {
		return 0, err
	}
	p := &libcontainer.Process{
		Args: cmd, Env: c.proc.Env, Cwd: c.proc.Cwd, UID: c.proc.UID, GID: c.proc.GID,
		AdditionalGroups: c.proc.AdditionalGroups, Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr,
	}
	err = r.starters.do(ctx, func() error { return c.lib.Run(p) })
	s.closeChild()
	if err != nil {
		s.finish()
		if errors.Is(err, libcontainer.ErrNotRunning) {
			err = kubelet.ErrNotRunning
		}
		return 0, fmt.Errorf("exec %q in container %q: %w", cmd[0], c.cfg.Name, err)
	}
	return r.waitExec(ctx, p, s)
}

func (r *Runtime) waitExec(ctx context.Context, p *libcontainer.Process, s *streams) (int, error) {
	kill := func() { _ = p.Signal(unix.SIGKILL) }
	stop := context.AfterFunc(ctx, kill)
	stopClose := context.AfterFunc(r.ctx, kill)
	ps, err := p.Wait()
	stop()
	stopClose()
	s.finish()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	code := ps.ExitCode()
	if code < 0 {
		if ws, ok := ps.Sys().(interface{ Signal() unix.Signal }); ok {
			code = 128 + int(ws.Signal())
		}
	}
	return code, nil
}

// streams connects a command to its caller by pipes of our own: a process that the command leaves
// behind may hold them open, and must not hold up the caller.
type streams struct {
	stdin, stdout, stderr *os.File
	parent                []*os.File
	copies                chan struct{} // one value per copy that has ended
	running               int
}

func openStreams(stdin io.Reader, stdout, stderr io.Writer) (*streams, error) {
	s := &streams{copies: make(chan struct{}, 2)}
	var err error
	if s.stdout, err = s.out(stdout); err == nil {
		if sameWriter(stdout, stderr) {
			s.stderr = s.stdout // one writer must not be written to by two
		} else {
			s.stderr, err = s.out(stderr)
		}
	}
	if err == nil {
		err = s.in(stdin)
	}
	if err != nil {
		s.closeChild()
		s.finish()
		return nil, err
	}
	return s, nil
}

// sameWriter tells whether two writers are one; those that cannot be compared are not.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a != nil && a == b
}

func (s *streams) out(w io.Writer) (*os.File, error) {
	if w == nil {
		w = io.Discard
	}
	r, child, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.parent = append(s.parent, r)
	s.running++
	go func() {
		_, _ = io.Copy(w, r)
		s.copies <- struct{}{}
	}()
	return child, nil
}

// in copies the caller's input. The copy is not waited for: it may be blocked in the caller's
// reader, and ends when that does.
func (s *streams) in(r io.Reader) (err error) {
	if r == nil {
		s.stdin, err = os.OpenFile(os.DevNull, os.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}
	child, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.stdin = child
	s.parent = append(s.parent, w)
	go func() {
		_, _ = io.Copy(w, r)
		w.Close()
	}()
	return nil
}

func (s *streams) closeChild() {
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

func (s *streams) finish() {
	timeout := time.NewTimer(drainPatience)
	defer timeout.Stop()
	for s.running > 0 {
		select {
		case <-s.copies:
			s.running--
		case <-timeout.C:
			s.closeParent() // ends the copies
		}
	}
	s.closeParent()
}

func (s *streams) closeParent() {
	for _, f := range s.parent {
		f.Close()
	}
}
