package runc

import (
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

func newManager(cfg *cgroups.Cgroup, paths map[string]string) (cgroups.Manager, error) {
	return manager.NewWithPaths(cfg, paths)
}

// watch waits for a container to exit, records how, and removes it from the kernel.
func (r *Runtime) watch(c *container, out *output) {
	defer close(c.cleaned)
	ps, err := c.proc.Wait()
	finished := time.Now()
	var oom uint64
	if c.cgroup != nil {
		oom, _ = c.cgroup.OOMKillCount()
	}
	// Without a namespace of their own, processes survive the first one.
	if c.sandbox.cfg.HostPID {
		c.signal(r, unix.SIGKILL)
	}
	out.finish()
	var ws syscall.WaitStatus
	if ps != nil {
		ws, _ = ps.Sys().(syscall.WaitStatus)
	} else {
		r.cfg.Logger.Warn("cannot tell how a container exited", "container", c.cfg.Name, "err", err)
		ws = syscall.WaitStatus(unix.SIGKILL)
	}
	r.mu.Lock()
	c.status.FinishedAt = finished
	setExit(&c.status, ws, oom > 0)
	r.mu.Unlock()
	close(c.exited)
	r.news.Tell(c.sandbox.cfg.UID)
	if err := c.lib.Destroy(); err != nil {
		r.cfg.Logger.Warn("cannot clean up after a container", "container", c.cfg.Name, "err", err)
	}
	if err := detach(filepath.Join(c.dir, "rootfs")); err != nil {
		r.cfg.Logger.Warn("cannot unmount a container's root", "container", c.cfg.Name, "err", err)
	}
}

// setExit turns a wait status into the terms of a container's status.
func setExit(s *kubelet.Container, ws syscall.WaitStatus, oom bool) {
	s.State, s.ExitCode = kubelet.ContainerExited, ws.ExitStatus()
	if ws.Signaled() {
		s.Signal = int(ws.Signal())
		s.ExitCode = 128 + s.Signal
	}
	switch {
	case oom && s.ExitCode != 0:
		s.Reason = "OOMKilled"
	case s.ExitCode == 0:
		s.Reason = "Completed"
	default:
		s.Reason = "Error"
	}
}
