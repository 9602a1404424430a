package kubelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// verb is what an action does.
type verb string

const (
	doVolumes verb = "volumes" // set up the volumes, or bring them up to date
	doSandbox verb = "sandbox" // run a sandbox, in place of one that is no longer ready
	doStart   verb = "start"   // pull the image if needed, create and start a container
	doStop    verb = "stop"    // run the preStop hook and stop a container
	doProbe   verb = "probe"   // run a probe once
	doPrune   verb = "prune"   // remove a container that nothing refers to any more
	doRelease verb = "release" // stop the sandbox and unmount the volumes of an ended pod
	doRemove  verb = "remove"  // release, and remove all that is left
	doDelete  verb = "delete"  // tell the API that the pod is gone
	doNote    verb = "note"    // say by an event and in the status that a container backs off
)

// action is one step that plan asks for. Actions run side by side; while one runs its key is in
// podState.Busy, and plan does not ask for another with this key.
type action struct {
	Do        verb
	Container string
	ID        string // of a container to prune
	Probe     probeKind
	Grace     time.Duration
	Reason    string
	Message   string
	Until     time.Time // the end of the back-off of a note
}

// key names what the action works on.
func (a action) key() string {
	switch a.Do {
	case doStart, doStop:
		return "container/" + a.Container
	case doProbe:
		return "probe/" + a.Container + "/" + string(a.Probe)
	case doPrune:
		return "prune/" + a.ID
	case doSandbox, doRelease, doRemove:
		return "sandbox"
	default:
		return string(a.Do)
	}
}

// Times of plan.
const (
	volumesPeriod = time.Minute     // how old volumes made from API objects may get
	pullErrorTime = 2 * time.Second // how long ErrImagePull shows before ImagePullBackOff
)

// plan returns what is to be done now for a pod, and when to plan again if nothing happens before;
// the zero time means never. It is a function of its arguments alone.
func plan(s *podState, now time.Time) ([]action, time.Time) {
	p := &planner{s: s, now: now}
	if end := s.ending(now); end != nil {
		p.end(end)
	} else {
		p.live()
	}
	return p.acts, p.wake
}

type planner struct {
	s    *podState
	now  time.Time
	acts []action
	wake time.Time
}

// at makes plan run again at t.
func (p *planner) at(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// due tells whether t has come, and makes plan run again when it has not.
func (p *planner) due(t time.Time) bool {
	if t.After(p.now) {
		p.at(t)
		return false
	}
	return true
}

func (p *planner) do(a action) {
	if !p.s.busy(a.key()) {
		p.acts = append(p.acts, a)
	}
}

// live keeps a pod running that is not to end.
func (p *planner) live() {
	s := p.s
	if t, ok := s.deadline(); ok {
		p.at(t)
	}
	p.volumes()
	if !p.stopDoomed() {
		return
	}
	if !s.VolumesReady {
		return
	}
	if s.Sandbox == nil || !s.Sandbox.Ready {
		if !s.anyContainerBusy() && p.due(s.SandboxRetry) {
			p.do(action{Do: doSandbox})
		}
		return
	}
	if p.initContainers() {
		for i := range s.Pod.Spec.Containers {
			p.keep(&s.Pod.Spec.Containers[i])
		}
	}
	p.probeAll()
	p.prune()
}

func (p *planner) volumes() {
	s := p.s
	switch {
	case !s.VolumesReady:
		if p.due(s.VolumesRetry) {
			p.do(action{Do: doVolumes})
		}
	case refreshable(s.Pod) && p.due(s.VolumesFresh.Add(volumesPeriod)) && p.due(s.VolumesRetry):
		p.do(action{Do: doVolumes})
	}
}

// stopDoomed stops the containers that have to be restarted. It reports false while the pod's
// sandbox is being replaced.
func (p *planner) stopDoomed() bool {
	s := p.s
	for _, c := range eachContainer(s.Pod) {
		r := s.peek(c.Name)
		if r.Doomed != "" && r.alive() && p.due(r.StopRetry) {
			p.do(action{Do: doStop, Container: c.Name, Grace: doomedGrace(s.Pod, c, r), Message: r.Doomed})
		}
	}
	return !s.busy("sandbox")
}

// initContainers brings the init containers forward, and reports whether the app containers may
// run.
func (p *planner) initContainers() bool {
	s := p.s
	done := s.appsBegan()
	for i := range s.Pod.Spec.InitContainers {
		c := &s.Pod.Spec.InitContainers[i]
		r := s.peek(c.Name)
		switch {
		case isSidecar(c):
			p.keep(c)
			if !done && !r.started(c) {
				return false
			}
		case done || s.initDone(c):
		default:
			p.keep(c)
			return false
		}
	}
	return true
}

// appsBegan tells that an app container was made in this sandbox, so that the init containers are
// done.
func (s *podState) appsBegan() bool {
	for i := range s.Pod.Spec.Containers {
		r := s.peek(s.Pod.Spec.Containers[i].Name)
		if r.Current != nil && s.Sandbox != nil && r.Sandbox == s.Sandbox.ID {
			return true
		}
	}
	return false
}

func (s *podState) initDone(c *corev1.Container) bool {
	r := s.peek(c.Name)
	return r.succeeded() && s.Sandbox != nil && r.Sandbox == s.Sandbox.ID
}

// keep starts a container that does not run, if it should and may.
func (p *planner) keep(c *corev1.Container) {
	s, r := p.s, p.s.peek(c.Name)
	if r.alive() && !s.neverStarted(r) || s.busy("container/"+c.Name) {
		return
	}
	redo := isInit(s.Pod, c.Name) && r.succeeded() // an init container in a new sandbox
	if r.exited() && !redo && !shouldRestart(s.Pod, c, r) {
		return
	}
	if !p.due(r.Retry) {
		return
	}
	if r.PullError != "" {
		if until := r.Pull.until(r.PullFailed); until.After(p.now) {
			p.pullBackoff(c, r, until)
			return
		}
	}
	if r.exited() && !redo {
		if until := r.Crash.until(r.Current.FinishedAt); until.After(p.now) {
			p.crashBackoff(c, r, until)
			return
		}
	}
	p.do(action{Do: doStart, Container: c.Name})
}

// neverStarted tells that a container was created but its start failed or was cut off.
func (s *podState) neverStarted(r *record) bool {
	return r.Current != nil && r.Current.State == ContainerCreated
}

func (p *planner) crashBackoff(c *corev1.Container, r *record, until time.Time) {
	p.at(until)
	if r.BackoffSaid.Equal(until) {
		return
	}
	pod := p.s.Pod
	p.acts = append(p.acts, action{Do: doNote, Container: c.Name, Until: until, Reason: "CrashLoopBackOff",
		Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
			r.Crash.delay, c.Name, pod.Name, pod.Namespace, pod.UID)})
}

func (p *planner) pullBackoff(c *corev1.Container, r *record, until time.Time) {
	p.at(until)
	if r.BackoffSaid.Equal(until) || !p.due(r.PullFailed.Add(pullErrorTime)) {
		return
	}
	p.acts = append(p.acts, action{Do: doNote, Container: c.Name, Until: until, Reason: "ImagePullBackOff",
		Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.Image, r.PullError)})
}

func (p *planner) probeAll() {
	for _, c := range eachContainer(p.s.Pod) {
		r := p.s.peek(c.Name)
		probes := r.probes(c)
		for _, kind := range []probeKind{probeStartup, probeReadiness, probeLiveness} {
			probe := probes[kind]
			if probe == nil || p.s.busy(action{Do: doProbe, Container: c.Name, Probe: kind}.key()) {
				continue
			}
			if p.due(probeDue(probe, kind, *r.probeState(kind), r.Current.StartedAt)) {
				p.do(action{Do: doProbe, Container: c.Name, Probe: kind})
			}
		}
	}
}

// prune removes containers that are neither a current one nor the one before it.
func (p *planner) prune() {
	for i := range p.s.Sandbox.Containers {
		c := &p.s.Sandbox.Containers[i]
		r := p.s.peek(c.Name)
		if c.State == ContainerExited && r.Current != nil && c.Attempt+1 < r.Current.Attempt && p.due(p.s.PruneRetry) {
			p.do(action{Do: doPrune, Container: c.Name, ID: c.ID})
		}
	}
}

// shouldRestart tells whether a container that has exited is to run again.
func shouldRestart(pod *corev1.Pod, c *corev1.Container, r *record) bool {
	policy := string(restartPolicyOf(pod))
	switch {
	case c.RestartPolicy != nil:
		policy = string(*c.RestartPolicy)
	case isInit(pod, c.Name) && policy == string(corev1.RestartPolicyAlways):
		policy = string(corev1.RestartPolicyOnFailure)
	}
	switch policy {
	case string(corev1.RestartPolicyNever):
		return false
	case string(corev1.RestartPolicyOnFailure):
		return !r.succeeded()
	default:
		return true
	}
}

func (s *podState) anyContainerBusy() bool {
	for k := range s.Busy {
		if len(k) > 10 && k[:10] == "container/" {
			return true
		}
	}
	return false
}
