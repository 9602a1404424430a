package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// startError says what stopped a container from starting, as its waiting state tells it.
type startError struct {
	reason string
	err    error
	pull   bool // it failed over its image
}

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// starting is what the start of a container works with.
type starting struct {
	pod     *corev1.Pod
	c       *corev1.Container
	sandbox Sandbox
	attempt uint32
	left    string // a container that was created and never started
	facts   podFacts
}

func (w *worker) startEffect(a action, now time.Time) func(context.Context) func() {
	s := &w.state
	r := s.record(a.Container)
	st := starting{pod: s.Pod, c: findContainer(s.Pod, a.Container), sandbox: *s.Sandbox, facts: w.facts()}
	st.attempt, st.left = s.beginStart(r, st.c, now)
	return func(ctx context.Context) func() {
		id, err := w.start(ctx, &st)
		return func() { w.state.started(a.Container, id, err, ctx.Err() != nil, time.Now()) }
	}
}

// beginStart notes that a container is about to be started, and returns its attempt and what is
// left of a start that failed.
func (s *podState) beginStart(r *record, c *corev1.Container, now time.Time) (attempt uint32, left string) {
	switch {
	case s.neverStarted(r):
		return r.Current.Attempt, r.Current.ID
	case r.Current == nil:
		return 0, ""
	}
	if shouldRestart(s.Pod, c, r) {
		r.Crash.next(r.Current.FinishedAt, now)
	}
	return r.Current.Attempt + 1, ""
}

// started notes the outcome of a start.
func (s *podState) started(name, id string, err error, cancelled bool, now time.Time) {
	r := s.record(name)
	var failed *startError
	switch {
	case err == nil:
		r.PullError, r.Pull, r.Wait = "", backoff{}, waiting{}
		if r.Current != nil && r.Current.ID == id {
			r.PostStarted = true
		}
	case cancelled:
	case errors.As(err, &failed) && failed.reason == "PostStartHookError":
		r.Doomed = "FailedPostStartHook"
	case errors.As(err, &failed):
		if failed.pull {
			r.PullError = failed.err.Error()
			r.Pull.next(r.PullFailed, now)
			r.PullFailed = now
		} else {
			r.Retry = now.Add(startRetry)
			if failed.reason == "ErrImageNeverPull" || failed.reason == "InvalidImageName" {
				r.Retry = now.Add(backoffFirst) // a person has to change something first
			}
		}
		r.Wait = waiting{failed.reason, failed.err.Error()}
	}
}

// startRetry is how long a container waits whose configuration or creation failed.
const startRetry = 2 * time.Second

// start pulls the image if needed, creates and starts the container, and runs its postStart hook.
func (w *worker) start(ctx context.Context, st *starting) (string, error) {
	k, rt := w.k, w.k.cfg.Runtime
	img, err := k.ensureImage(ctx, st.pod, st.c)
	if err != nil {
		return "", err
	}
	cfg, err := w.containerConfig(ctx, st, img)
	if err != nil {
		return "", w.sayFailed(ctx, st, &startError{reason: "CreateContainerConfigError", err: err})
	}
	if st.left != "" {
		if err := ignoreGone(rt.RemoveContainer(ctx, st.left)); err != nil {
			return "", w.sayFailed(ctx, st, &startError{reason: "CreateContainerError", err: err})
		}
	}
	id, err := rt.CreateContainer(ctx, st.sandbox.ID, cfg)
	if err != nil {
		return "", w.sayFailed(ctx, st, &startError{reason: "CreateContainerError", err: err})
	}
	k.containerEvent(st.pod, st.c.Name, corev1.EventTypeNormal, "Created", "Created container: "+st.c.Name)
	if err := rt.StartContainer(ctx, id); err != nil {
		return id, w.sayFailed(ctx, st, &startError{reason: "RunContainerError", err: err})
	}
	k.containerEvent(st.pod, st.c.Name, corev1.EventTypeNormal, "Started", "Started container "+st.c.Name)
	if st.c.Lifecycle != nil && st.c.Lifecycle.PostStart != nil {
		if err := k.runHook(ctx, st.c, id, st.facts.PodIPs, st.c.Lifecycle.PostStart); err != nil && ctx.Err() == nil {
			k.containerEvent(st.pod, st.c.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			k.log.Warn("a postStart hook failed", "pod", podName(st.pod), "container", st.c.Name, "err", err)
			return id, &startError{reason: "PostStartHookError", err: err}
		}
	}
	return id, nil
}

func (w *worker) sayFailed(ctx context.Context, st *starting, err *startError) error {
	if ctx.Err() == nil {
		w.k.containerEvent(st.pod, st.c.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	}
	return err
}

// containerConfig derives the container and makes the files that it mounts.
func (w *worker) containerConfig(ctx context.Context, st *starting, img Image) (ContainerConfig, error) {
	c, k := st.c, w.k
	env, err := makeEnv(ctx, k.sources, st.facts, c)
	if err != nil {
		return ContainerConfig{}, err
	}
	sec := securityOf(st.pod, c)
	if err := nonRoot(st.pod, c, sec, img); err != nil {
		return ContainerConfig{}, err
	}
	lookup := envLookup(env)
	cfg := ContainerConfig{
		Name: c.Name, Attempt: st.attempt, Image: c.Image, WorkingDir: c.WorkingDir, Env: env,
		LogPath:   containerLogPath(podLogDir(k.logDir, st.pod), c.Name, st.attempt),
		Resources: containerResources(st.pod, c, k.memory), Security: sec,
		Stdin: c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY,
	}
	for _, x := range c.Command {
		cfg.Command = append(cfg.Command, expand(x, lookup))
	}
	for _, x := range c.Args {
		cfg.Args = append(cfg.Args, expand(x, lookup))
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		cfg.StopSignal = string(*c.Lifecycle.StopSignal)
	}
	if err := os.MkdirAll(filepath.Dir(cfg.LogPath), 0o755); err != nil {
		return cfg, err
	}
	cfg.Mounts, err = w.mounts(st, lookup)
	return cfg, err
}

func envLookup(env []EnvVar) func(string) (string, bool) {
	m := make(map[string]string, len(env))
	for _, v := range env {
		m[v.Name] = v.Value
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// mounts returns the container's mounts: its volumes, its hosts file, its termination message.
func (w *worker) mounts(st *starting, lookup func(string) (string, bool)) ([]Mount, error) {
	var out []Mount
	hosts := true
	for i := range st.c.VolumeMounts {
		m := &st.c.VolumeMounts[i]
		mount, err := w.k.volumes.mount(st.pod, st.c, i, lookup)
		if err != nil {
			return nil, err
		}
		hosts = hosts && m.MountPath != "/etc/hosts"
		out = append(out, mount)
	}
	if hosts {
		path, err := w.writeHosts(st.pod, st.sandbox.IPs)
		if err != nil {
			return nil, err
		}
		out = append(out, Mount{HostPath: path, ContainerPath: "/etc/hosts"})
	}
	msg := w.messagePath(st.c.Name, st.attempt)
	if err := os.MkdirAll(filepath.Dir(msg), 0o750); err != nil {
		return nil, err
	}
	if err := os.WriteFile(msg, nil, 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(msg, 0o666); err != nil { // whatever the umask is
		return nil, err
	}
	to := st.c.TerminationMessagePath
	if to == "" {
		to = corev1.TerminationMessagePathDefault
	}
	return append(out, Mount{HostPath: msg, ContainerPath: to}), nil
}

func (w *worker) writeHosts(pod *corev1.Pod, ips []netip.Addr) (string, error) {
	path := filepath.Join(w.k.volumes.podDir(string(pod.UID)), "etc-hosts")
	text := hostsFile(pod, ips, w.k.cfg.ClusterDomain)
	if pod.Spec.HostNetwork {
		text = hostNetworkHosts(pod)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", err
	}
	if have, err := os.ReadFile(path); err == nil && string(have) == text {
		return path, nil // containers of the pod may be reading it
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("can't write the pod's hosts file: %w", err)
	}
	return path, nil
}
