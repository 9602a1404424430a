package kubelet

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeStatus returns the status that the API should have. Conditions that the kubelet does not own
// are kept from the API's pod.
func makeStatus(s *podState, runtimeName string, now time.Time) corev1.PodStatus {
	pod := s.Pod
	st := corev1.PodStatus{
		QOSClass:           qosClass(pod),
		NominatedNodeName:  pod.Status.NominatedNodeName,
		ObservedGeneration: pod.Generation,
		Resize:             pod.Status.Resize,
	}
	start := metav1.NewTime(s.startTime())
	st.StartTime = &start
	if len(s.HostIPs) > 0 {
		st.HostIP = s.HostIPs[0]
		for _, ip := range s.HostIPs {
			st.HostIPs = append(st.HostIPs, corev1.HostIP{IP: ip})
		}
	}
	end := s.ending(now)
	if s.Rejected != nil {
		st.Phase, st.Reason, st.Message = end.Phase, end.Reason, end.Message
		st.Conditions = foreignConditions(pod, nil)
		return st
	}
	podIPs(s, &st)
	for i := range pod.Spec.InitContainers {
		st.InitContainerStatuses = append(st.InitContainerStatuses,
			containerStatus(s, &pod.Spec.InitContainers[i], runtimeName, end))
	}
	for i := range pod.Spec.Containers {
		st.ContainerStatuses = append(st.ContainerStatuses,
			containerStatus(s, &pod.Spec.Containers[i], runtimeName, end))
	}
	st.Phase = phaseOf(s, end)
	if end != nil {
		st.Reason, st.Message = end.Reason, end.Message
	}
	st.Conditions = foreignConditions(pod, conditions(s, st.Phase, now))
	return st
}

func podIPs(s *podState, st *corev1.PodStatus) {
	if s.Pod.Spec.HostNetwork {
		if s.Sandbox != nil {
			st.PodIP = st.HostIP
			for _, ip := range s.HostIPs {
				st.PodIPs = append(st.PodIPs, corev1.PodIP{IP: ip})
			}
		}
		return
	}
	if s.Sandbox == nil || !s.Sandbox.Ready {
		return
	}
	for i, ip := range s.Sandbox.IPs {
		if i == 0 {
			st.PodIP = ip.String()
		}
		st.PodIPs = append(st.PodIPs, corev1.PodIP{IP: ip.String()})
	}
}

// phaseOf follows the kubelet's rules: Pending until all init containers are done and each
// container was started once, Running while one runs or will be restarted, then the end.
func phaseOf(s *podState, end *ending) corev1.PodPhase {
	if end != nil && end.Phase != "" {
		if s.running() == 0 || end.Reason != "" {
			return end.Phase
		}
	}
	if s.pendingInit() && !s.appsBegan() {
		if end != nil && s.running() == 0 {
			return corev1.PodFailed
		}
		return corev1.PodPending
	}
	var unknown, stopped, succeeded int
	for i := range s.Pod.Spec.Containers {
		r := s.peek(s.Pod.Spec.Containers[i].Name)
		switch {
		case r.Current == nil || (r.Current.State == ContainerCreated && r.Last == nil):
			unknown++
		case r.exited():
			stopped++
			if r.succeeded() {
				succeeded++
			}
		}
	}
	switch {
	case unknown > 0 && (end == nil || s.running() > 0 || !s.Cleaned):
		return corev1.PodPending
	case end != nil && s.running() == 0 && stopped == succeeded && unknown == 0:
		return corev1.PodSucceeded
	case end != nil && s.running() == 0:
		return corev1.PodFailed
	}
	return corev1.PodRunning
}

func (s *podState) running() int {
	n := 0
	for _, r := range s.Containers {
		if r.running() {
			n++
		}
	}
	return n
}

// pendingInit tells that an init container is not done or a sidecar not started.
func (s *podState) pendingInit() bool {
	for i := range s.Pod.Spec.InitContainers {
		c := &s.Pod.Spec.InitContainers[i]
		r := s.peek(c.Name)
		if isSidecar(c) && !r.started(c) || !isSidecar(c) && !r.succeeded() {
			return true
		}
	}
	return false
}

func containerStatus(s *podState, c *corev1.Container, runtimeName string, end *ending) corev1.ContainerStatus {
	r := s.peek(c.Name)
	st := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, RestartCount: r.Restarts,
		Ready: r.ready(c),
	}
	if isInit(s.Pod, c.Name) && !isSidecar(c) {
		st.Ready = r.succeeded()
	}
	started := r.started(c)
	st.Started = &started
	if cur := r.Current; cur != nil {
		st.ImageID = cur.ImageID
		if cur.Image != "" {
			st.Image = cur.Image
		}
		st.ContainerID = containerID(runtimeName, cur.ID)
	}
	if r.Last != nil {
		st.LastTerminationState = terminated(r.Last, runtimeName)
	}
	switch {
	case r.running():
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(r.Current.StartedAt)}
	case r.exited() && (r.Wait.Reason == "" || end != nil):
		st.State = terminated(r.Current, runtimeName)
	default:
		st.State.Waiting = waitingState(s, c, r)
		if r.exited() {
			st.LastTerminationState = terminated(r.Current, runtimeName)
		}
	}
	return st
}

func waitingState(s *podState, c *corev1.Container, r *record) *corev1.ContainerStateWaiting {
	w := r.Wait
	switch {
	case w.Reason != "":
	case len(s.Pod.Spec.InitContainers) > 0 && !s.appsBegan() && (!isInit(s.Pod, c.Name) || s.pendingBefore(c)):
		w.Reason = "PodInitializing"
	default:
		w.Reason = "ContainerCreating"
	}
	if s.Sandbox == nil && w.Reason == "ContainerCreating" && len(s.Pod.Spec.InitContainers) > 0 {
		w.Reason = "PodInitializing"
	}
	return &corev1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}
}

// pendingBefore tells that an init container before c is not done.
func (s *podState) pendingBefore(c *corev1.Container) bool {
	for i := range s.Pod.Spec.InitContainers {
		o := &s.Pod.Spec.InitContainers[i]
		if o.Name == c.Name {
			return false
		}
		r := s.peek(o.Name)
		if isSidecar(o) && !r.started(o) || !isSidecar(o) && !r.succeeded() {
			return true
		}
	}
	return false
}

func terminated(c *Container, runtimeName string) corev1.ContainerState {
	t := &corev1.ContainerStateTerminated{
		ExitCode: int32(c.ExitCode), Signal: int32(c.Signal),
		Reason: c.Reason, Message: c.Message,
		StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt),
		ContainerID: containerID(runtimeName, c.ID),
	}
	if t.Reason == "" {
		t.Reason = "Completed"
		if c.ExitCode != 0 {
			t.Reason = "Error"
		}
	}
	return corev1.ContainerState{Terminated: t}
}

func containerID(runtimeName, id string) string {
	if id == "" || strings.Contains(id, "://") {
		return id
	}
	return runtimeName + "://" + id
}
