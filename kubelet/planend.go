package kubelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ending says why and how a pod ends.
type ending struct {
	// Remove tells that the pod is deleted, not just done.
	Remove bool
	// Phase, Reason and Message are for the status; an empty phase leaves it to the containers.
	Phase           corev1.PodPhase
	Reason, Message string
	Grace           time.Duration
}

// defaultGrace is Kubernetes' terminationGracePeriodSeconds.
const defaultGrace = 30 * time.Second

// ending returns how the pod ends, or nil for one that is to run.
func (s *podState) ending(now time.Time) *ending {
	pod := s.Pod
	e := &ending{Grace: graceOf(pod), Remove: s.Gone || pod.DeletionTimestamp != nil}
	if e.Remove && pod.DeletionGracePeriodSeconds != nil {
		e.Grace = time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	}
	deadline, limited := s.deadline()
	failed, done := s.done()
	switch {
	case s.Rejected != nil:
		e.Phase, e.Reason, e.Message = corev1.PodFailed, s.Rejected.Reason, s.Rejected.Message
	case pod.Status.Phase == corev1.PodFailed, pod.Status.Phase == corev1.PodSucceeded:
		e.Phase, e.Reason, e.Message = pod.Status.Phase, pod.Status.Reason, pod.Status.Message
	case done && failed:
		e.Phase = corev1.PodFailed
	case done:
		e.Phase = corev1.PodSucceeded
	case limited && !now.Before(deadline):
		e.Phase, e.Reason = corev1.PodFailed, "DeadlineExceeded"
		e.Message = "Pod was active on the node longer than the specified deadline"
	case e.Remove:
	default:
		return nil
	}
	return e
}

func graceOf(pod *corev1.Pod) time.Duration {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(max(*g, 0)) * time.Second
	}
	return defaultGrace
}

// doomedGrace is the grace period of a container that its probe dooms.
func doomedGrace(pod *corev1.Pod, c *corev1.Container, r *record) time.Duration {
	for _, x := range []struct {
		st *probeState
		p  *corev1.Probe
	}{{&r.Liveness, c.LivenessProbe}, {&r.Startup, c.StartupProbe}} {
		if x.st.Failed && x.p != nil && x.p.TerminationGracePeriodSeconds != nil {
			return time.Duration(*x.p.TerminationGracePeriodSeconds) * time.Second
		}
	}
	return graceOf(pod)
}

// startTime is the status' startTime.
func (s *podState) startTime() time.Time {
	if t := s.Pod.Status.StartTime; t != nil {
		return t.Time
	}
	return s.FirstSeen
}

func (s *podState) deadline() (time.Time, bool) {
	d := s.Pod.Spec.ActiveDeadlineSeconds
	if d == nil {
		return time.Time{}, false
	}
	return s.startTime().Add(time.Duration(*d) * time.Second), true
}

// done tells whether all containers have ended for good, and whether the pod failed.
func (s *podState) done() (failed, done bool) {
	pod := s.Pod
	if s.initFailed() {
		return true, true
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		r := s.peek(c.Name)
		if !r.exited() || s.busy("container/"+c.Name) || shouldRestart(pod, c, r) {
			return false, false
		}
		failed = failed || !r.succeeded()
	}
	return failed, len(pod.Spec.Containers) > 0
}

// initFailed tells that an init container failed that must not run again.
func (s *podState) initFailed() bool {
	if s.appsBegan() {
		return false
	}
	for i := range s.Pod.Spec.InitContainers {
		c := &s.Pod.Spec.InitContainers[i]
		r := s.peek(c.Name)
		if !isSidecar(c) && r.exited() && !r.succeeded() && !shouldRestart(s.Pod, c, r) {
			return true
		}
	}
	return false
}

// end brings a pod to its end: app containers together, then the sidecars in reverse order, then
// the sandbox and the volumes, then the API's object.
func (p *planner) end(e *ending) {
	s := p.s
	if p.stopContainers(e) || s.anyContainerBusy() || s.busy("volumes") || s.busy("sandbox") {
		return
	}
	verb := doRelease
	if e.Remove {
		verb = doRemove
	}
	switch {
	case !s.Cleaned || (e.Remove && s.Sandbox != nil):
		if p.due(s.SandboxRetry) {
			p.do(action{Do: verb})
		}
	case e.Remove && !s.Gone && !s.Deleted:
		if p.due(s.DeleteRetry) {
			p.do(action{Do: doDelete})
		}
	}
}

// stopContainers reports whether something still runs.
func (p *planner) stopContainers(e *ending) bool {
	s := p.s
	running := false
	stop := func(c *corev1.Container) {
		if r := s.peek(c.Name); r.alive() {
			running = true
			if p.due(r.StopRetry) {
				p.do(action{Do: doStop, Container: c.Name, Grace: e.Grace,
					Message: fmt.Sprintf("Stopping container %s", c.Name)})
			}
		}
		running = running || s.busy("container/"+c.Name)
	}
	for i := range s.Pod.Spec.Containers {
		stop(&s.Pod.Spec.Containers[i])
	}
	for i := len(s.Pod.Spec.InitContainers) - 1; i >= 0 && !running; i-- {
		stop(&s.Pod.Spec.InitContainers[i])
	}
	return running
}
