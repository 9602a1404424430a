package runc

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
)

const (
	libcontainerVersion = "1.5.2"
	defaultPath         = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	noDevExecSuid       = unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV
)

// spec describes a container to libcontainer.
func (r *Runtime) spec(c *container, img image.Image) (*configs.Config, error) {
	sec := c.cfg.Security
	caps, err := containerCaps(sec)
	if err != nil {
		return nil, err
	}
	seccomp, err := seccompProfile(sec)
	if err != nil {
		return nil, err
	}
	limits := r.cgroups.limits(c.cfg.Resources)
	cfg := &configs.Config{
		Rootfs:          c.root,
		Readonlyfs:      sec.ReadOnlyRootFS,
		RootPropagation: rootPropagation(c.cfg.Mounts),
		// See Init: the starting threads make this safe.
		ParentDeathSignal: int(unix.SIGKILL),
		NoNewPrivileges:   sec.NoNewPrivileges,
		Capabilities:      caps,
		Seccomp:           seccomp,
		OomScoreAdj:       oomScoreAdj(c.cfg.Resources.OOMScoreAdj),
		Namespaces:        namespacesOf(c.sandbox),
		Cgroups:           &cgroups.Cgroup{Path: r.cgroups.containerPath(c.sandbox.cfg.UID, c.status.ID), Resources: limits},
	}
	if err := setDevices(cfg, sec.Privileged); err != nil {
		return nil, err
	}
	if !sec.Privileged && !sec.UnmaskedProc {
		cfg.MaskPaths = []string{
			"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
			"/sys/firmware", "/sys/devices/virtual/powercap",
		}
		cfg.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	}
	cfg.Mounts, err = mountsOf(c)
	return cfg, err
}

// namespacesOf joins the pod's namespaces; mounts and processes are the container's own.
func namespacesOf(sb *sandbox) configs.Namespaces {
	ns := configs.Namespaces{{Type: configs.NEWNS}}
	if !sb.cfg.HostPID {
		ns = append(ns, configs.Namespace{Type: configs.NEWPID})
	}
	if !sb.cfg.HostIPC {
		ns = append(ns, configs.Namespace{Type: configs.NEWIPC, Path: sb.nsPath(ipcNS)})
	}
	if !sb.cfg.HostNetwork {
		ns = append(ns,
			configs.Namespace{Type: configs.NEWNET, Path: sb.nsPath(netNS)},
			configs.Namespace{Type: configs.NEWUTS, Path: sb.nsPath(utsNS)})
	}
	if cgroups.IsCgroup2UnifiedMode() {
		ns = append(ns, configs.Namespace{Type: configs.NEWCGROUP})
	}
	return ns
}

// mountsOf is what containerd mounts into each container, and the pod's own mounts, the parents
// before what is in them.
func mountsOf(c *container) ([]*configs.Mount, error) {
	sysFlags := noDevExecSuid | unix.MS_RDONLY
	if c.cfg.Security.Privileged {
		sysFlags = noDevExecSuid
	}
	base := []*configs.Mount{
		{Source: "proc", Destination: "/proc", Device: "proc", Flags: noDevExecSuid},
		{Source: "tmpfs", Destination: "/dev", Device: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
		{Source: "devpts", Destination: "/dev/pts", Device: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{Source: "mqueue", Destination: "/dev/mqueue", Device: "mqueue", Flags: noDevExecSuid},
		{Source: "sysfs", Destination: "/sys", Device: "sysfs", Flags: sysFlags},
		{Source: "cgroup", Destination: "/sys/fs/cgroup", Device: "cgroup", Flags: sysFlags | unix.MS_RELATIME},
	}
	given := map[string]bool{}
	var own []*configs.Mount
	for _, m := range c.cfg.Mounts {
		mount, err := bindMount(m)
		if err != nil {
			return nil, err
		}
		given[mount.Destination] = true
		own = append(own, mount)
	}
	for _, m := range c.sandbox.commonMounts() {
		if !given[m.ContainerPath] {
			mount, err := bindMount(m)
			if err != nil {
				return nil, err
			}
			own = append(own, mount)
		}
	}
	slices.SortStableFunc(own, func(a, b *configs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	base = slices.DeleteFunc(base, func(m *configs.Mount) bool { return given[m.Destination] })
	return append(base, own...), nil
}

// commonMounts are files that the containers of a pod share, unless the kubelet gives its own.
func (sb *sandbox) commonMounts() []kubelet.Mount {
	shm := filepath.Join(sb.dir, "shm")
	if sb.cfg.HostIPC {
		shm = "/dev/shm"
	}
	resolv := filepath.Join(sb.dir, "resolv.conf")
	if fi, err := os.Stat(resolv); err != nil || fi.Size() == 0 {
		resolv = "/etc/resolv.conf"
	}
	out := []kubelet.Mount{
		{HostPath: shm, ContainerPath: "/dev/shm"},
		{HostPath: filepath.Join(sb.dir, "hostname"), ContainerPath: "/etc/hostname"},
	}
	if _, err := os.Stat(resolv); err == nil {
		out = append(out, kubelet.Mount{HostPath: resolv, ContainerPath: "/etc/resolv.conf"})
	}
	return out
}

func bindMount(m kubelet.Mount) (*configs.Mount, error) {
	if !path.IsAbs(m.ContainerPath) {
		return nil, fmt.Errorf("mount %q: the path in the container must be absolute", m.ContainerPath)
	}
	src, err := filepath.EvalSymlinks(m.HostPath)
	if errors.Is(err, os.ErrNotExist) {
		// As containerd does: a hostPath volume without a type may name what is not there yet.
		src = m.HostPath
		err = os.MkdirAll(src, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %q at %q: %w", m.HostPath, m.ContainerPath, err)
	}
	out := &configs.Mount{Source: src, Destination: path.Clean(m.ContainerPath), Device: "bind", Flags: unix.MS_BIND | unix.MS_REC}
	if m.ReadOnly {
		out.Flags |= unix.MS_RDONLY
	}
	switch m.Propagation {
	case "":
		out.PropagationFlags = []int{unix.MS_PRIVATE | unix.MS_REC}
	case "HostToContainer":
		out.PropagationFlags = []int{unix.MS_SLAVE | unix.MS_REC}
	case "Bidirectional":
		out.PropagationFlags = []int{unix.MS_SHARED | unix.MS_REC}
	default:
		return nil, fmt.Errorf("mount %q: propagation %q is not HostToContainer or Bidirectional", m.ContainerPath, m.Propagation)
	}
	return out, nil
}

// rootPropagation must be shared for a mount that is to show on the node.
func rootPropagation(mounts []kubelet.Mount) int {
	for _, m := range mounts {
		if m.Propagation == "Bidirectional" {
			return unix.MS_SHARED | unix.MS_REC
		}
	}
	return unix.MS_SLAVE | unix.MS_REC
}

// process is a container's first process.
func (c *container) process(img image.Image) (*libcontainer.Process, error) {
	args := commandOf(c.cfg, img.Settings)
	if len(args) == 0 {
		return nil, fmt.Errorf("no command: neither the pod nor the image %s has one", c.cfg.Image)
	}
	id, err := resolveUser(c.root, img.Settings.User, c.cfg.Security)
	if err != nil {
		return nil, err
	}
	cwd := cmp.Or(c.cfg.WorkingDir, img.Settings.WorkingDir, "/")
	if !path.IsAbs(cwd) {
		return nil, fmt.Errorf("the working directory %q must be absolute", cwd)
	}
	return &libcontainer.Process{
		Init: true, Args: args, Env: c.environment(img.Settings.Env), Cwd: cwd,
		UID: id.uid, GID: id.gid, AdditionalGroups: id.groups,
	}, nil
}

// commandOf is Kubernetes' rule: a command replaces the image's entrypoint and its arguments,
// arguments alone replace only the image's arguments.
func commandOf(cfg kubelet.ContainerConfig, img image.Settings) []string {
	switch {
	case len(cfg.Command) > 0:
		return slices.Concat(cfg.Command, cfg.Args)
	case len(cfg.Args) > 0:
		return slices.Concat(img.Entrypoint, cfg.Args)
	}
	return slices.Concat(img.Entrypoint, img.Cmd)
}

// environment lets later entries win: the image's over the defaults, the pod's over the image's.
func (c *container) environment(fromImage []string) []string {
	env := []string{defaultPath, "HOSTNAME=" + c.sandbox.cfg.Hostname}
	if c.cfg.TTY {
		env = append(env, "TERM=xterm")
	}
	for _, e := range fromImage {
		if i := strings.IndexByte(e, '='); i > 0 {
			env = append(env, e)
		}
	}
	for _, e := range c.cfg.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}
