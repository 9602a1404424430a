package kubelet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sim lives a pod's life without a runtime, an API or a clock: it carries out what plan asks for on
// plain data, at once and in order, and writes down what happens.
type sim struct {
	s     podState
	now   time.Time
	start time.Time
	boxes int
	ids   int
	// fail holds what goes wrong next, by container or verb.
	fail map[string]error
	// slow holds containers that take their time to stop.
	slow map[string]bool
	out  strings.Builder
}

func newSim(pod *corev1.Pod) *sim {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &sim{now: start, start: start, fail: map[string]error{}, slow: map[string]bool{},
		s: podState{Pod: pod, FirstSeen: start, Busy: map[string]bool{}, HostIPs: []string{"192.0.2.1"}}}
}

func (m *sim) logf(format string, args ...any) {
	fmt.Fprintf(&m.out, "%6s  %s\n", m.now.Sub(m.start).Round(time.Millisecond), fmt.Sprintf(format, args...))
}

// run plans and carries out until there is nothing to do now. It returns when to plan again.
func (m *sim) run() time.Time {
	for range 200 {
		acts, wake := plan(&m.s, m.now)
		if len(acts) == 0 {
			return wake
		}
		for _, a := range acts {
			m.do(a)
		}
	}
	panic("the plan never settles")
}

// until runs until the given time, waking up when the plan asks for it.
func (m *sim) until(end time.Time) {
	for {
		wake := m.run()
		if wake.IsZero() || wake.After(end) {
			m.now = end
			m.run()
			return
		}
		if !wake.After(m.now) {
			panic("the plan wakes up in the past")
		}
		m.now = wake
	}
}

func (m *sim) do(a action) {
	if m.s.busy(a.key()) {
		panic("two actions at once on " + a.key())
	}
	what := string(a.Do)
	if a.Container != "" {
		what += " " + a.Container
	}
	switch a.Do {
	case doStop:
		what += fmt.Sprintf(" grace=%v (%s)", a.Grace, a.Message)
	case doProbe:
		what += " " + string(a.Probe)
	case doNote:
		what += fmt.Sprintf(" %s: %s", a.Reason, a.Message)
	}
	err := m.fail[what]
	if err == nil {
		err = m.fail[a.Container]
	}
	if err == nil && a.Container == "" {
		err = m.fail[string(a.Do)]
	}
	if err != nil {
		what += ": " + err.Error()
	}
	if a.Do != doProbe || err != nil {
		m.logf("%s", what)
	}
	m.effect(a, err)
}

func (m *sim) effect(a action, err error) {
	s := &m.s
	switch a.Do {
	case doVolumes:
		if err != nil {
			s.VolumesRetry = m.now.Add(volumeRetry)
			return
		}
		s.VolumesReady, s.VolumesFresh = true, m.now
	case doSandbox:
		if s.Attempt++; err != nil {
			s.SandboxRetry = m.now.Add(time.Second)
			return
		}
		m.boxes++
		s.observe(&Sandbox{ID: fmt.Sprint("sb", m.boxes), Ready: true, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, m.now)
	case doStart:
		m.startContainer(a, err)
	case doStop:
		if s.record(a.Container).Current.State == ContainerCreated {
			m.exit(a.Container, 137)
			return
		}
		if m.slow[a.Container] {
			s.Busy[a.key()] = true
			return
		}
		m.exit(a.Container, 143)
	case doProbe:
		r := s.record(a.Container)
		p := r.probes(findContainer(s.Pod, a.Container))[a.Probe]
		st := r.probeState(a.Probe)
		st.result(p, a.Probe, err == nil, r.Current.StartedAt, m.now)
		if st.Failed {
			r.Doomed = fmt.Sprintf("Container %s failed %s probe, will be restarted", a.Container, strings.ToLower(string(a.Probe)))
		}
	case doPrune:
		m.change(func(sb *Sandbox) {
			sb.Containers = slices.DeleteFunc(sb.Containers, func(c Container) bool { return c.ID == a.ID })
		})
	case doRelease:
		s.Cleaned = true
		m.change(func(sb *Sandbox) { sb.Ready = false })
	case doRemove:
		s.Cleaned, s.Sandbox = true, nil
	case doDelete:
		s.Deleted, s.Gone = true, true
	case doNote:
		r := s.record(a.Container)
		r.BackoffSaid, r.Wait = a.Until, waiting{a.Reason, a.Message}
	}
}

func (m *sim) startContainer(a action, err error) {
	s := &m.s
	r := s.record(a.Container)
	attempt, left := s.beginStart(r, findContainer(s.Pod, a.Container), m.now)
	var failed *startError
	if errors.As(err, &failed) && failed.reason != "RunContainerError" {
		s.started(a.Container, "", err, false, m.now)
		return
	}
	m.ids++
	c := Container{ID: fmt.Sprint("c", m.ids), Name: a.Container, Attempt: attempt, State: ContainerRunning, StartedAt: m.now, CreatedAt: m.now}
	if failed != nil {
		c.State, c.ExitCode, c.Reason, c.FinishedAt = ContainerExited, 128, "StartError", m.now
	}
	m.change(func(sb *Sandbox) {
		sb.Containers = slices.DeleteFunc(sb.Containers, func(c Container) bool { return c.ID == left })
		sb.Containers = append(sb.Containers, c)
	})
	s.started(a.Container, c.ID, err, false, m.now)
}

// change changes what the runtime says about the sandbox.
func (m *sim) change(f func(*Sandbox)) {
	if m.s.Sandbox == nil {
		return
	}
	sb := *m.s.Sandbox
	sb.Containers = slices.Clone(sb.Containers)
	f(&sb)
	m.s.observe(&sb, m.now)
}

// exit ends a container.
func (m *sim) exit(name string, code int) {
	m.logf("%s exits with %d", name, code)
	delete(m.s.Busy, "container/"+name)
	m.change(func(sb *Sandbox) {
		for i := range sb.Containers {
			c := &sb.Containers[i]
			if c.Name == name && c.State != ContainerExited {
				c.State, c.ExitCode, c.FinishedAt, c.Reason = ContainerExited, code, m.now, ""
			}
		}
	})
}

// remove asks for the pod's deletion.
func (m *sim) remove(grace int64) {
	pod := m.s.Pod.DeepCopy()
	t := metav1.NewTime(m.now)
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &t, &grace
	m.s.Pod = pod
}

// status returns the status in short.
func (m *sim) status() string {
	st := makeStatus(&m.s, "sim", m.now)
	var b strings.Builder
	fmt.Fprintf(&b, "%s", st.Phase)
	if st.Reason != "" {
		fmt.Fprintf(&b, " %s (%s)", st.Reason, st.Message)
	}
	for _, c := range st.Conditions {
		fmt.Fprintf(&b, " %s=%s", c.Type, c.Status)
	}
	b.WriteByte('\n')
	for _, c := range append(st.InitContainerStatuses, st.ContainerStatuses...) {
		fmt.Fprintf(&b, "  %s: %s ready=%v started=%v restarts=%d", c.Name, stateText(c.State), c.Ready, *c.Started, c.RestartCount)
		if c.LastTerminationState != (corev1.ContainerState{}) {
			fmt.Fprintf(&b, " last=%s", stateText(c.LastTerminationState))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func stateText(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated(%s,%d)", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Waiting != nil:
		return fmt.Sprintf("waiting(%s)", s.Waiting.Reason)
	}
	return "none"
}
