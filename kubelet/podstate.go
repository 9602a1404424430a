package kubelet

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// podState is all that decides a pod's next actions and its status. It is plain data: the worker
// of the pod keeps it, the effects report into it, and plan and makeStatus only read it.
type podState struct {
	// Pod is the newest version that the API told; read-only.
	Pod *corev1.Pod
	// Gone tells that the API no longer has the pod.
	Gone bool
	// Rejected says why the node did not admit the pod.
	Rejected *rejection
	// FirstSeen is when the kubelet saw the pod; the pod's startTime unless the API knows it.
	FirstSeen time.Time

	// Sandbox is the newest sandbox, nil when there is none. Attempt counts the sandboxes made.
	Sandbox *Sandbox
	Attempt uint32
	// SandboxRetry is when a failed sandbox may be tried again.
	SandboxRetry time.Time
	// VolumesReady tells that all volumes are set up; VolumesRetry when to try again after an
	// error; VolumesFresh when they were brought up to date.
	VolumesReady bool
	VolumesRetry time.Time
	VolumesFresh time.Time
	// PruneRetry is when old containers whose removal failed may be removed.
	PruneRetry time.Time
	// Cleaned tells that the sandbox and the volumes of an ended pod are gone.
	Cleaned bool
	// Deleted tells that the API was asked for the final deletion.
	Deleted     bool
	DeleteRetry time.Time

	// Containers holds what is known of each container, init containers too, by name.
	Containers map[string]*record
	// Busy holds the keys of the actions that run now.
	Busy map[string]bool
	// HostIPs are the node's addresses.
	HostIPs []string
}

// record is what is known of one container of a pod.
type record struct {
	// Current is the newest container of this name, Last the one before it; nil when there is
	// none. Sandbox is the ID of Current's sandbox, empty when only the API remembers it.
	Current, Last *Container
	Sandbox       string
	// Restarts is the status' restartCount.
	Restarts int32
	// Wait says why the container waits; an empty reason is told by default.
	Wait waiting
	// Retry is when a start that failed before there was a container may be tried again.
	Retry time.Time
	// Pull and Crash are the delays of the image's pulls and of the container's restarts.
	Pull, Crash backoff
	PullError   string // the last pull's error, until one succeeds
	PullFailed  time.Time
	// BackoffSaid is the end of the back-off that an event was sent for.
	BackoffSaid time.Time
	// Ready, Startup and Live are the probes of Current.
	Readiness, Startup, Liveness probeState
	// Running tells that the postStart hook of Current is done.
	PostStarted bool
	// StopRetry is when a stop that failed may be tried again.
	StopRetry time.Time
	// Doomed says why Current has to be stopped, such as a failed liveness probe.
	Doomed string
}

// waiting is a container's waiting state.
type waiting struct{ Reason, Message string }

// rejection says why a pod can't run on this node.
type rejection struct{ Reason, Message string }

func (r *record) running() bool {
	return r.Current != nil && r.Current.State == ContainerRunning
}

func (r *record) exited() bool {
	return r.Current != nil && r.Current.State == ContainerExited
}

// alive tells that there is something to stop.
func (r *record) alive() bool {
	return r.Current != nil && r.Current.State != ContainerExited
}

func (r *record) succeeded() bool { return r.exited() && r.Current.ExitCode == 0 }

func (s *podState) record(name string) *record {
	r := s.Containers[name]
	if r == nil {
		r = &record{}
		if s.Containers == nil {
			s.Containers = map[string]*record{}
		}
		s.Containers[name] = r
	}
	return r
}

// peek is record without making one.
func (s *podState) peek(name string) *record {
	if r := s.Containers[name]; r != nil {
		return r
	}
	return &record{}
}

func (s *podState) busy(key string) bool { return s.Busy[key] }

// observe takes over what the runtime says about the pod's newest sandbox. Containers that are
// known and no longer there count as ended, since their exit was not seen.
func (s *podState) observe(sb *Sandbox, now time.Time) {
	s.Sandbox = sb
	if sb == nil {
		for _, r := range s.Containers {
			r.lose(now)
		}
		return
	}
	newest := map[string]*Container{}
	for i := range sb.Containers {
		c := &sb.Containers[i]
		if o := newest[c.Name]; o == nil || c.Attempt > o.Attempt {
			newest[c.Name] = c
		}
	}
	for name, c := range newest {
		s.record(name).see(c, sb.ID)
	}
	for name, r := range s.Containers {
		if newest[name] == nil && r.Sandbox == sb.ID {
			r.lose(now)
		}
	}
	if !sb.Ready {
		for _, r := range s.Containers {
			r.lose(now)
		}
	}
}

// see takes over a container's state.
func (r *record) see(c *Container, sandbox string) {
	if r.Current != nil && r.Current.ID != c.ID {
		if r.Sandbox == sandbox && c.Attempt < r.Current.Attempt {
			return // an older one, left after the newest was removed
		}
		if r.Current.State == ContainerExited {
			r.Last = r.Current
		}
		r.resetRun()
	}
	n := *c
	r.Current, r.Sandbox = &n, sandbox
	r.Restarts = max(r.Restarts, int32(c.Attempt))
}

// resetRun forgets what belonged to one run of the container.
func (r *record) resetRun() {
	r.Readiness, r.Startup, r.Liveness = probeState{}, probeState{}, probeState{}
	r.PostStarted, r.Doomed, r.Wait = false, "", waiting{}
}

// lose marks a container whose end was not seen as ended, as the kubelet does.
func (r *record) lose(now time.Time) {
	if !r.alive() {
		return
	}
	c := *r.Current
	c.State, c.ExitCode, c.FinishedAt = ContainerExited, 137, now
	c.Reason = "ContainerStatusUnknown"
	c.Message = "The container could not be located when the pod was terminated"
	r.Current = &c
}

// isSidecar tells whether c is a restartable init container.
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// eachContainer returns pointers to the pod's init and app containers, in this order.
func eachContainer(pod *corev1.Pod) []*corev1.Container {
	out := make([]*corev1.Container, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers))
	for i := range pod.Spec.InitContainers {
		out = append(out, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		out = append(out, &pod.Spec.Containers[i])
	}
	return out
}

func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for _, c := range eachContainer(pod) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func isInit(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
}

// restartPolicyOf returns the pod's restart policy, Always when it is not set.
func restartPolicyOf(pod *corev1.Pod) corev1.RestartPolicy {
	if pod.Spec.RestartPolicy == "" {
		return corev1.RestartPolicyAlways
	}
	return pod.Spec.RestartPolicy
}
