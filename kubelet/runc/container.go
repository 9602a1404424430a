package runc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // lets cgroups control devices
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
)

// container is one container. Its directory holds the writable part of its root file system.
type container struct {
	cfg     kubelet.ContainerConfig
	sandbox *sandbox
	dir     string
	root    string // the mounted root file system
	img     image.Image
	release func() // gives the image's layers back

	// life makes starting and removing one at a time.
	life    sync.Mutex
	lib     *libcontainer.Container
	proc    *libcontainer.Process
	cgroup  cgroups.Manager
	exited  chan struct{} // closed when it has exited and its state says so; nil if it never ran
	cleaned chan struct{} // closed when nothing of it is left in the kernel

	// Held under Runtime.mu.
	status kubelet.Container
	gone   bool
}

// startErrorCode is the exit code of a container whose command could not be started, as kubelet
// reports it.
const startErrorCode = 128

// CreateContainer implements kubelet.Runtime.
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, cfg kubelet.ContainerConfig) (string, error) {
	ctx, done, err := r.enter(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	c := &container{cfg: cfg, status: kubelet.Container{
		ID: newID(), Name: cfg.Name, Attempt: cfg.Attempt, Image: cfg.Image, LogPath: cfg.LogPath, CreatedAt: time.Now(),
	}}
	r.mu.Lock()
	c.sandbox = r.sandboxes[sandboxID]
	r.mu.Unlock()
	if c.sandbox == nil {
		return "", fmt.Errorf("sandbox %s: %w", sandboxID, kubelet.ErrNotFound)
	}
	if err := r.prepare(ctx, c); err != nil {
		return "", errors.Join(fmt.Errorf("create container %q: %w", cfg.Name, err), c.clear())
	}
	if err := r.register(c); err != nil {
		return "", errors.Join(err, c.clear())
	}
	return c.status.ID, nil
}

func (r *Runtime) register(c *container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.sandbox.gone || !c.sandbox.ready || r.closed {
		return fmt.Errorf("create container %q: sandbox %s is stopped: %w", c.cfg.Name, c.sandbox.id, kubelet.ErrNotFound)
	}
	r.containers[c.status.ID] = c
	c.sandbox.containers = append(c.sandbox.containers, c)
	return nil
}

// prepare makes a container's root file system and checks its configuration.
func (r *Runtime) prepare(ctx context.Context, c *container) (err error) {
	if c.img, c.release, err = r.images.Use(c.cfg.Image); err != nil {
		return err
	}
	c.status.ImageID = c.img.ID
	c.dir = r.state.path("run", "containers", c.status.ID)
	if err := os.Mkdir(c.dir, 0o711); err != nil {
		return err
	}
	if c.root, err = mountRootFS(c.dir, c.img.LayerDirs); err != nil {
		return err
	}
	if _, err := signalOf(c.stopSignal()); err != nil {
		return err
	}
	if c.proc, err = c.process(c.img); err != nil {
		return err
	}
	cfg, err := r.spec(c, c.img)
	if err != nil {
		return err
	}
	if c.lib, err = libcontainer.Create(r.state.path("run", "libcontainer"), c.status.ID, cfg); err != nil {
		return err
	}
	return ctx.Err()
}

// StartContainer implements kubelet.Runtime.
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	c, done, err := r.enterContainer(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return err
	}
	c.life.Lock()
	defer c.life.Unlock()
	r.mu.Lock()
	state, gone := c.status.State, c.gone || c.sandbox.gone
	r.mu.Unlock()
	switch {
	case gone:
		return fmt.Errorf("container %s: %w", id, kubelet.ErrNotFound)
	case state == kubelet.ContainerRunning:
		return nil
	case state == kubelet.ContainerExited:
		return fmt.Errorf("container %q has exited already: make a new one", c.cfg.Name)
	}
	if err := r.launch(ctx, c); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return err // not begun: it may be tried again
		}
		err = fmt.Errorf("start container %q: %w", c.cfg.Name, err)
		r.failStart(c, err)
		return err
	}
	return nil
}

func (r *Runtime) launch(ctx context.Context, c *container) error {
	out, err := c.openOutput()
	if err != nil {
		return err
	}
	defer out.closeChild()
	if err := r.starters.do(ctx, func() error { return c.lib.Run(c.proc) }); err != nil {
		out.abort()
		return err
	}
	if pid, err := c.proc.Pid(); err == nil {
		awaitExec(pid)
	}
	if st, err := c.lib.State(); err == nil {
		c.cgroup, _ = newManager(c.lib.Config().Cgroups, st.CgroupPaths)
	}
	c.exited, c.cleaned = make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	c.status.State, c.status.StartedAt = kubelet.ContainerRunning, time.Now()
	r.mu.Unlock()
	r.working.Add(1) // the call that we are in keeps it from being zero
	go func() {
		defer r.working.Done()
		r.watch(c, out)
	}()
	r.news.Tell(c.sandbox.cfg.UID)
	return nil
}

// failStart records why a container could not be started.
func (r *Runtime) failStart(c *container, err error) {
	if derr := c.lib.Destroy(); derr != nil {
		r.cfg.Logger.Warn("cannot clean up after a container that did not start", "container", c.cfg.Name, "err", derr)
	}
	r.mu.Lock()
	c.status.State, c.status.ExitCode = kubelet.ContainerExited, startErrorCode
	c.status.Reason, c.status.Message = "StartError", err.Error()
	c.status.FinishedAt = time.Now()
	r.mu.Unlock()
	r.news.Tell(c.sandbox.cfg.UID)
}

// StopContainer implements kubelet.Runtime.
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	c, done, err := r.enterContainer(ctx, id)
	if errors.Is(err, kubelet.ErrNotFound) || errors.Is(err, errClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	defer done()
	return r.stopContainer(ctx, c, grace)
}

func (r *Runtime) stopContainer(ctx context.Context, c *container, grace time.Duration) error {
	c.life.Lock()
	exited := c.exited
	if exited == nil {
		c.neverRan(r)
	}
	c.life.Unlock()
	if exited == nil {
		return nil
	}
	if grace > 0 {
		stopped, err := r.askToStop(ctx, c, grace)
		if stopped || err != nil {
			return err
		}
	}
	c.signal(r, unix.SIGKILL)
	select {
	case <-exited:
		return nil
	case <-time.After(killPatience):
		return fmt.Errorf("container %q does not die of SIGKILL: a process of it hangs in the kernel", c.cfg.Name)
	}
}

// askToStop sends the stop signal, and waits for the container to exit or the grace period to pass.
func (r *Runtime) askToStop(ctx context.Context, c *container, grace time.Duration) (stopped bool, err error) {
	sig, err := signalOf(c.stopSignal())
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	started := c.status.StartedAt
	r.mu.Unlock()
	over := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { c.signalWhenCaught(r, sig, started, over) })
	defer sending.Wait()
	defer close(over)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true, nil
	case <-timer.C:
	case <-r.ctx.Done(): // Close does not wait for manners
	case <-ctx.Done():
		if r.ctx.Err() == nil {
			return false, ctx.Err()
		}
	}
	return false, nil
}

const killPatience = 10 * time.Second

// neverRan turns a container that was only created into one that has exited. It wants c.life held.
func (c *container) neverRan(r *Runtime) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.status.State == kubelet.ContainerCreated {
		c.status.State, c.status.FinishedAt = kubelet.ContainerExited, time.Now()
		c.status.Reason, c.status.ExitCode = "Error", startErrorCode+int(unix.SIGKILL)
		c.status.Message = "stopped before it was started"
	}
}

func (c *container) signal(r *Runtime, sig unix.Signal) {
	err := c.lib.Signal(sig)
	if err != nil && !errors.Is(err, libcontainer.ErrNotRunning) && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, unix.ESRCH) {
		r.cfg.Logger.Warn("cannot signal a container", "container", c.cfg.Name, "signal", sig, "err", err)
	}
}

// RemoveContainer implements kubelet.Runtime. A running container is killed.
func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	c, done, err := r.enterContainer(ctx, id)
	if errors.Is(err, kubelet.ErrNotFound) || errors.Is(err, errClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	defer done()
	return r.removeContainer(ctx, c)
}

func (r *Runtime) removeContainer(ctx context.Context, c *container) error {
	if err := r.stopContainer(ctx, c, 0); err != nil {
		return err
	}
	c.life.Lock()
	defer c.life.Unlock()
	if c.cleaned != nil {
		<-c.cleaned
	}
	r.mu.Lock()
	c.gone = true
	r.mu.Unlock()
	if err := c.clear(); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.containers, c.status.ID)
	c.sandbox.containers = slices.DeleteFunc(c.sandbox.containers, func(x *container) bool { return x == c })
	r.mu.Unlock()
	return nil
}

// clear removes what prepare made, as far as it came.
func (c *container) clear() error {
	var errs []error
	if c.lib != nil {
		if err := c.lib.Destroy(); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if c.dir != "" {
		err := detach(filepath.Join(c.dir, "rootfs"))
		if err == nil {
			err = os.RemoveAll(c.dir)
		}
		errs = append(errs, err)
	}
	if c.release != nil {
		c.release()
	}
	return errors.Join(errs...)
}

func (r *Runtime) enterContainer(ctx context.Context, id string) (*container, func(), error) {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return nil, nil, fmt.Errorf("container %s: %w", id, kubelet.ErrNotFound)
	}
	_, done, err := r.enter(ctx)
	return c, done, err
}
