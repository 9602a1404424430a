//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/inboard/inboard/kubelet"
)

// defaultPath is where programs are looked for when neither image nor pod says so.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// argv returns the container's command line: a command of the pod replaces the image's entrypoint
// and its command, args of the pod replace the image's command.
func (r *Runtime) argv(c *container) []string {
	s := c.image.Settings
	entry, args := s.Entrypoint, s.Cmd
	if len(c.cfg.Command) > 0 {
		entry, args = c.cfg.Command, nil
	}
	if len(c.cfg.Args) > 0 {
		args = c.cfg.Args
	}
	return append(slices.Clone(entry), args...)
}

// command prepares a process of the container.
func (r *Runtime) command(c *container, argv []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("no command specified: neither image %s nor the pod has one", c.cfg.Image)
	}
	workDir := c.cfg.WorkingDir
	if workDir == "" {
		workDir = c.image.Settings.WorkingDir
	}
	env := r.environ(c)
	path := defaultPath
	for _, v := range env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = p
		}
	}
	files := layers(c.image.LayerDirs)
	prog, err := files.program(argv[0], path, workDir)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: prog, Args: argv, Env: env, Dir: r.workDir(c, files, workDir),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}, nil
}

// workDir returns the working directory: a mount's, else the image's, else the container's own.
func (r *Runtime) workDir(c *container, files layers, dir string) string {
	root := r.containerRoot(c.state.ID)
	if dir == "" {
		return root
	}
	own := filepath.Join(root, filepath.Clean("/"+dir))
	if info, err := os.Stat(own); err == nil && info.IsDir() {
		return own
	}
	if host, info, err := files.find(dir); err == nil && info.IsDir() && dir != "/" {
		return host
	}
	return root
}

// environ returns the environment: the image's, the container's, then what this runtime tells.
func (r *Runtime) environ(c *container) []string {
	values := map[string]string{"PATH": defaultPath, "HOSTNAME": c.sandbox.state.Config.Hostname}
	order := []string{"PATH", "HOSTNAME"}
	set := func(name, value string) {
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = value
	}
	for _, v := range c.image.Settings.Env {
		name, value, _ := strings.Cut(v, "=")
		set(name, value)
	}
	for _, v := range c.cfg.Env {
		set(v.Name, v.Value)
	}
	if ips := c.sandbox.state.IPs; len(ips) > 0 {
		set("POD_IP", ips[0].String())
	}
	set("CONTAINER_ROOT", r.containerRoot(c.state.ID))
	set(idVar, c.state.ID)
	out := make([]string, len(order))
	for i, name := range order {
		out[i] = name + "=" + values[name]
	}
	return out
}

// credential honours runAsUser where it can: when the program is root. Otherwise a container has
// no more rights than the program anyway.
func credential(s kubelet.SecurityContext) *syscall.Credential {
	if os.Geteuid() != 0 || s.RunAsUser == nil {
		return nil
	}
	cred := &syscall.Credential{Uid: uint32(*s.RunAsUser)}
	if s.RunAsGroup != nil {
		cred.Gid = uint32(*s.RunAsGroup)
	}
	for _, g := range s.SupplementalGroups {
		cred.Groups = append(cred.Groups, uint32(g))
	}
	return cred
}

// Exec implements kubelet.Runtime. The command runs in a process group of its own and is killed
// when ctx ends.
func (r *Runtime) Exec(ctx context.Context, id string, argv []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	r.mu.Lock()
	c := r.containers[id]
	if c == nil {
		r.mu.Unlock()
		return 0, notFound("container", id)
	}
	if c.state.State != kubelet.ContainerRunning || r.closed {
		r.mu.Unlock()
		return 0, fmt.Errorf("process: container %.12s: %w", id, kubelet.ErrNotRunning)
	}
	r.running.Add(1) // Close waits for the command
	r.mu.Unlock()
	defer r.running.Done()
	cmd, err := r.command(c, argv)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr.Credential = credential(c.cfg.Security)
	cmd.WaitDelay = time.Second // for output held open by a process that the command left
	if err := r.starter.start(cmd); err != nil {
		return 0, fmt.Errorf("process: can't run %s: %w", argv[0], err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
		case <-c.exited: // what was executed ends with the container
		case <-done:
			return
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, ctx.Err()
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay), errors.Is(err, fs.ErrClosed):
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}
