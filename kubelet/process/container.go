//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
)

// container is one container. Runtime.mu guards state, started and cmd.
type container struct {
	state   kubelet.Container
	cfg     kubelet.ContainerConfig
	sandbox *sandbox
	image   image.Image
	release func() // lets go of the image's layers
	started bool   // a start was tried
	cmd     *exec.Cmd
	exited  chan struct{}
}

// CreateContainer implements kubelet.Runtime.
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, cfg kubelet.ContainerConfig) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	img, release, err := r.images.Use(cfg.Image)
	if err != nil {
		return "", err
	}
	c := &container{cfg: cfg, image: img, release: release, exited: make(chan struct{}), state: kubelet.Container{
		ID: newID(), Name: cfg.Name, Attempt: cfg.Attempt, State: kubelet.ContainerCreated,
		Image: cfg.Image, ImageID: img.ID, CreatedAt: time.Now(), LogPath: cfg.LogPath}}
	if err := r.linkMounts(c); err != nil {
		release()
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sb := r.sandboxes[sandboxID]
	switch {
	case r.closed:
		err = errClosed
	case sb == nil:
		err = notFound("sandbox", sandboxID)
	case !sb.state.Ready:
		err = fmt.Errorf("process: sandbox %.12s has been stopped", sandboxID)
	}
	if err != nil {
		release()
		return "", errors.Join(err, os.RemoveAll(r.containerDir(c.state.ID)))
	}
	c.sandbox = sb
	sb.containers = append(sb.containers, c)
	r.containers[c.state.ID] = c
	return c.state.ID, nil
}

func (r *Runtime) containerRoot(id string) string { return filepath.Join(r.containerDir(id), "root") }

// linkMounts makes the folder in which the container finds its mounts.
func (r *Runtime) linkMounts(c *container) error {
	dir := r.containerRoot(c.state.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	mounts := slices.Clone(c.cfg.Mounts)
	slices.SortFunc(mounts, func(a, b kubelet.Mount) int { return len(a.ContainerPath) - len(b.ContainerPath) })
	for _, m := range mounts {
		at := strings.TrimPrefix(filepath.Clean("/"+m.ContainerPath), "/")
		if up := filepath.Dir(at); up != "." {
			if err := root.MkdirAll(up, 0o755); err != nil {
				continue // it lies within another mount
			}
		}
		if err := root.Symlink(m.HostPath, at); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("process: can't link mount %s: %w", m.ContainerPath, err)
		}
	}
	return nil
}

// StartContainer implements kubelet.Runtime. A container can be started once.
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	c := r.containers[id]
	if c == nil || r.closed || c.started {
		defer r.mu.Unlock()
		switch {
		case r.closed:
			return errClosed
		case c == nil:
			return notFound("container", id)
		case c.state.State == kubelet.ContainerRunning:
			return nil
		}
		return fmt.Errorf("process: container %.12s has run already", id)
	}
	c.started = true
	r.running.Add(1)
	r.mu.Unlock()
	err := r.launch(c)
	if err != nil {
		r.running.Done()
		r.ended(c, kubelet.Container{ExitCode: 128, Reason: "StartError", Message: err.Error()})
	}
	r.news.Tell(c.sandbox.state.Config.UID)
	return err
}

// launch starts the process and what waits for its end.
func (r *Runtime) launch(c *container) error {
	argv := r.argv(c)
	cmd, err := r.command(c, argv)
	if err != nil {
		return err
	}
	log, err := kubelet.OpenLogWriter(c.cfg.LogPath, r.cfg.LogMaxSize, r.cfg.LogMaxFiles)
	if err != nil {
		return err
	}
	out, err := newOutput(log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	cmd.Stdout, cmd.Stderr = out.stdout.w, out.stderr.w
	cmd.SysProcAttr.Credential = credential(c.cfg.Security)
	r.mu.Lock()
	if !c.sandbox.state.Ready {
		r.mu.Unlock()
		out.abandon()
		return errors.New("process: the sandbox has been stopped")
	}
	err = r.starter.start(cmd)
	if err == nil {
		c.cmd, c.state.State, c.state.StartedAt = cmd, kubelet.ContainerRunning, time.Now()
	}
	r.mu.Unlock()
	out.started()
	if err != nil {
		out.abandon()
		return fmt.Errorf("process: can't start %s: %w", argv[0], err)
	}
	r.score(c, cmd.Process.Pid)
	go r.wait(c, cmd, out)
	return nil
}

// score raises the process' OOM score; lowering it needs privileges that this runtime lacks.
func (r *Runtime) score(c *container, pid int) {
	if s := c.cfg.Resources.OOMScoreAdj; s != 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, s), 0)
	}
}

// wait waits for the end of the container's first process and ends the others.
func (r *Runtime) wait(c *container, cmd *exec.Cmd, out *output) {
	defer r.running.Done()
	_ = cmd.Wait() // the state says it better
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	sweep(map[string]bool{c.state.ID: true})
	out.finish()
	end := kubelet.Container{ExitCode: cmd.ProcessState.ExitCode(), Reason: "Completed"}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		end.Signal = int(ws.Signal())
		end.ExitCode = 128 + end.Signal
	}
	if end.ExitCode != 0 {
		end.Reason = "Error"
	}
	r.ended(c, end)
}

func (r *Runtime) ended(c *container, end kubelet.Container) {
	r.mu.Lock()
	st := &c.state
	st.State, st.FinishedAt = kubelet.ContainerExited, time.Now()
	st.ExitCode, st.Signal, st.Reason, st.Message = end.ExitCode, end.Signal, end.Reason, end.Message
	if st.StartedAt.IsZero() {
		st.StartedAt = st.FinishedAt
	}
	r.mu.Unlock()
	close(c.exited)
	r.news.Tell(c.sandbox.state.Config.UID)
}

// StopContainer implements kubelet.Runtime.
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	if !r.signal(c, stopSignal(c)) {
		return nil
	}
	if grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.exited:
			return nil
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.kill(c)
}

func stopSignal(c *container) syscall.Signal {
	for _, name := range []string{c.cfg.StopSignal, c.image.Settings.StopSignal} {
		if !strings.HasPrefix(name, "SIG") && name != "" {
			name = "SIG" + name
		}
		if s := unix.SignalNum(name); s != 0 {
			return s
		}
	}
	return syscall.SIGTERM
}

// signal sends a signal to the container's processes, and reports whether it runs.
func (r *Runtime) signal(c *container, s syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.state.State != kubelet.ContainerRunning {
		return false
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, s) // it may have ended this moment
	return true
}

// kill ends a container at once and waits until it is gone.
func (r *Runtime) kill(c *container) error {
	if !r.signal(c, syscall.SIGKILL) {
		return nil
	}
	select {
	case <-c.exited:
		return nil
	case <-time.After(killWait):
		return fmt.Errorf("process: container %.12s does not end after SIGKILL", c.state.ID)
	}
}

// RemoveContainer implements kubelet.Runtime.
func (r *Runtime) RemoveContainer(_ context.Context, id string) error { return r.removeContainer(id) }

func (r *Runtime) removeContainer(id string) error {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	if err := r.kill(c); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.containers, id)
	c.sandbox.containers = slices.DeleteFunc(c.sandbox.containers, func(o *container) bool { return o == c })
	r.mu.Unlock()
	c.release()
	return os.RemoveAll(r.containerDir(id))
}
