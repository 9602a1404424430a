package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probeKind is one of a container's three probes.
type probeKind string

const (
	probeStartup   probeKind = "Startup"
	probeReadiness probeKind = "Readiness"
	probeLiveness  probeKind = "Liveness"
)

// probeState is where one probe of one run of a container is.
type probeState struct {
	// Ran is when the probe ran last; zero when it did not.
	Ran time.Time
	// Early counts the failures before the first period was over: see probeDue.
	Early int
	// Successes and Failures are consecutive.
	Successes, Failures int32
	// Passed is the probe's verdict.
	Passed bool
	// Failed tells that the failure threshold was reached.
	Failed bool
}

// probeEarly is the first of the delays at which a container that has just started is probed.
const probeEarly = 20 * time.Millisecond

func seconds(n, def int32) time.Duration {
	if n <= 0 {
		n = def
	}
	return time.Duration(n) * time.Second
}

func threshold(n, def int32) int32 {
	if n <= 0 {
		return def
	}
	return n
}

// probeDue returns when a probe runs next. The first run is due as soon as the initial delay is
// over. Kubernetes then waits a period; a server that needs 30 ms to listen would be found ready
// only 10 s later. So before the first period is over the startup and readiness probes run again
// after 20 ms, 40 ms, 80 ms, ...; together they count as one failure, when the period is over.
func probeDue(p *corev1.Probe, kind probeKind, st probeState, started time.Time) time.Time {
	begin := started.Add(time.Duration(p.InitialDelaySeconds) * time.Second)
	if st.Ran.IsZero() {
		return begin
	}
	period := seconds(p.PeriodSeconds, 10)
	next := st.Ran.Add(period)
	if kind != probeLiveness && st.Early > 0 && !st.Passed && st.Failures == 0 {
		early := st.Ran.Add(probeEarly << min(st.Early-1, 20))
		if first := begin.Add(period); early.After(first) {
			early = first
		}
		if early.After(st.Ran) {
			return early
		}
	}
	return next
}

// probeResult notes the outcome of a run, and tells whether a failure counts.
func (st *probeState) result(p *corev1.Probe, kind probeKind, ok bool, started, at time.Time) (counts bool) {
	begin := started.Add(time.Duration(p.InitialDelaySeconds) * time.Second)
	inFirst := at.Before(begin.Add(seconds(p.PeriodSeconds, 10)))
	st.Ran = at
	if ok {
		st.Failures = 0
		st.Successes++
		if st.Successes >= threshold(p.SuccessThreshold, 1) {
			st.Passed = true
		}
		return true
	}
	st.Successes = 0
	if kind != probeLiveness && inFirst && !st.Passed {
		st.Early++
		return false
	}
	if st.Failures++; st.Early > 0 {
		st.Failures++ // the first period, in which only failures were seen
		st.Early = 0
	}
	if st.Failures >= threshold(p.FailureThreshold, 3) {
		st.Passed, st.Failed = false, true
		if kind == probeReadiness {
			st.Failed = false
		}
	}
	return true
}

// started is the status' started: running, postStart done, startup probe passed.
func (r *record) started(c *corev1.Container) bool {
	return r.running() && r.PostStarted && (c.StartupProbe == nil || r.Startup.Passed)
}

// ready is the status' ready.
func (r *record) ready(c *corev1.Container) bool {
	return r.started(c) && (c.ReadinessProbe == nil || r.Readiness.Passed)
}

// probes returns the probes of c that apply now, with their states.
func (r *record) probes(c *corev1.Container) map[probeKind]*corev1.Probe {
	if !r.running() || !r.PostStarted || r.Doomed != "" {
		return nil
	}
	if c.StartupProbe != nil && !r.Startup.Passed {
		return map[probeKind]*corev1.Probe{probeStartup: c.StartupProbe}
	}
	out := map[probeKind]*corev1.Probe{}
	if c.ReadinessProbe != nil {
		out[probeReadiness] = c.ReadinessProbe
	}
	if c.LivenessProbe != nil {
		out[probeLiveness] = c.LivenessProbe
	}
	return out
}

func (r *record) probeState(kind probeKind) *probeState {
	switch kind {
	case probeStartup:
		return &r.Startup
	case probeReadiness:
		return &r.Readiness
	default:
		return &r.Liveness
	}
}
