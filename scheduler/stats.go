package scheduler

import (
	"errors"
	"time"
)

// Events are functions that a scheduler calls when something happens; nil ones are not called, and cost
// nothing. They must return quickly, must not call the scheduler, and may be called from several goroutines at
// once.
type Events struct {
	// Attempted is told of each attempt to schedule a pod when it ends: once the pod is bound, or when it goes
	// back to the queue.
	Attempted func(Attempt)
	// Placed is told how long the choice of a node took for a pod, whether or not one was found: filters,
	// scores, and the search for pods to preempt.
	Placed func(took time.Duration)
	// PreemptionAttempted is told of each search for pods to preempt, also of one that finds none.
	PreemptionAttempted func()
	// Preempting is told how many pods have to go for one pod, or for one pod group, once that is decided.
	Preempting func(victims int)
	// Enqueued is told of each pod that comes into a part of the queue: active, backoff or unschedulable, which
	// includes the gated ones. Cause is what has moved it, under kube-scheduler's name.
	Enqueued func(part, cause string)
	// Unschedulable is told of each waiting pod that a plugin begins (1) or ceases (-1) to keep from a node.
	Unschedulable func(plugin, schedulerName string, change int)
	// Ran is told how long the plugins of an extension point took for one pod.
	Ran func(ExtensionPoint)
}

// ExtensionPoint is one run of an extension point's plugins for a pod. Of a point that looks at nodes it is the time
// for all of them, without what was remembered of earlier pods.
type ExtensionPoint struct {
	// Name is PreFilter, Filter, PostFilter, PodGroupPostFilter, PreScore, Score, Reserve or Permit.
	Name string
	// SchedulerName is the pod's, and so the key of the profile.
	SchedulerName string
	// Status is "Success", or the name of a Code.
	Status string
	Took   time.Duration
}

// AttemptResult is how an attempt to schedule a pod ended.
type AttemptResult string

// The results are kube-scheduler's.
const (
	// AttemptScheduled is the result for a pod that was bound.
	AttemptScheduled AttemptResult = "scheduled"
	// AttemptUnschedulable is the result for a pod that plugins refused, on all nodes or after one was chosen.
	AttemptUnschedulable AttemptResult = "unschedulable"
	// AttemptError is the result for a pod that could not be scheduled because something went wrong.
	AttemptError AttemptResult = "error"
)

// Attempt is one attempt to schedule a pod.
type Attempt struct {
	// SchedulerName is the pod's, and so the key of the profile.
	SchedulerName string
	Result        AttemptResult
	// Took is the time since the pod left the queue; waiting for permission and binding are part of it. For a
	// pod that is placed together with others it does not include their placement.
	Took time.Duration
	// Number is 1 for the pod's first attempt.
	Number int
	// Queued is the time since the pod was first ready to be tried: gates do not count.
	Queued time.Duration
}

// Stats are a scheduler's figures of the moment. All are zero unless it is running.
type Stats struct {
	// Active pods are tried next, those in Backoff later, Unschedulable ones when something happens that may
	// help them, Gated ones when nothing keeps them out of the queue any more.
	Active, Backoff, Unschedulable, Gated int
	// Nodes and Pods are what the scheduler decides on. Pods have a node; the API server does not say so yet of
	// those that are Assumed.
	Nodes, Pods, Assumed int
	// Binding is how many goroutines are binding a pod.
	Binding int
}

// Stats returns the newest figures. A busy scheduler renews them once for every few dozen pods.
func (s *Scheduler) Stats() Stats {
	s.statsMu.Lock()
	out := s.stats
	s.statsMu.Unlock()
	out.Binding = int(s.binding.Load())
	return out
}

func (s *Scheduler) setStats(now Stats) {
	s.statsMu.Lock()
	s.stats = now
	s.statsMu.Unlock()
}

func (l *loop) currentStats() Stats {
	q := l.queue
	return Stats{
		Active: q.active.Len(), Backoff: q.backoff.Len(), Unschedulable: len(q.unschedulable), Gated: q.gates,
		Nodes: l.edit.s.Len(), Pods: len(l.placed), Assumed: l.assumedPods,
	}
}

// attempted tells of the end of an attempt, before the queue counts it.
func (s *Scheduler) attempted(p *queuedPod, result AttemptResult) {
	if s.cfg.Events.Attempted == nil {
		return
	}
	now := time.Now()
	s.cfg.Events.Attempted(Attempt{
		SchedulerName: p.Pod.Pod.Spec.SchedulerName, Result: result,
		Took: now.Sub(p.began), Number: p.Attempts + 1, Queued: now.Sub(p.entered),
	})
}

// resultOf returns the result of an attempt that ended with an error or with a refusal by plugins.
func resultOf(err error) AttemptResult {
	var fit *FitError
	if errors.As(err, &fit) || errors.Is(err, ErrNoNodes) {
		return AttemptUnschedulable
	}
	return AttemptError
}

// choose is Profile.place for a pod of the queue.
func (l *loop) choose(p *queuedPod, profile *Profile, c Cycle, makeRoom bool) (placement, error) {
	if l.cfg.Events.Placed == nil && l.cfg.Events.Attempted == nil {
		return profile.place(c, makeRoom)
	}
	began := time.Now()
	pl, err := profile.place(c, makeRoom)
	p.choosing = time.Since(began)
	if f := l.cfg.Events.Placed; f != nil {
		f(p.choosing)
	}
	return pl, err
}

// beganTogether makes the attempts of pods that are placed together begin as if each had been alone.
func (l *loop) beganTogether(pods []*queuedPod) {
	if l.cfg.Events.Attempted == nil {
		return
	}
	now := time.Now()
	for _, p := range pods {
		p.began = now.Add(-p.choosing)
	}
}

func (h *Handle) preemptionAttempted() {
	// Without a scheduler nobody is told.
	if h != nil && h.s.cfg.Events.PreemptionAttempted != nil {
		h.s.cfg.Events.PreemptionAttempted()
	}
}

// tell makes a queue tell of what happens in it.
func (q *queue) tell(e *Events) {
	if f := e.Enqueued; f != nil {
		q.entered = func(_ *queuedPod, part, cause string) { f(part, cause) }
	}
	if f := e.Unschedulable; f != nil {
		q.blamed = func(p *queuedPod, plugin string, by int) { f(plugin, p.Pod.Pod.Spec.SchedulerName, by) }
	}
}

// forgetBlames takes back what Unschedulable was told, when the scheduler ends.
func (q *queue) forgetBlames() {
	for _, p := range q.pods {
		q.blame(p, nil)
	}
}

// begin returns the time when somebody wants to know how long plugins take.
func (h *Handle) begin() (began time.Time) {
	if h != nil && h.s.cfg.Events.Ran != nil {
		began = time.Now()
	}
	return began
}

// ran tells of plugins that began to run then; nobody is told without a time.
func (h *Handle) ran(point string, p *PodInfo, status Code, began time.Time) {
	if !began.IsZero() {
		h.took(point, p, status, time.Since(began))
	}
}

func (h *Handle) took(point string, p *PodInfo, status Code, took time.Duration) {
	h.s.cfg.Events.Ran(ExtensionPoint{Name: point, SchedulerName: p.Pod.Spec.SchedulerName, Status: status.String(), Took: took})
}

// codeOf is what an extension point came to.
func codeOf(verdict *Verdict, err error) Code {
	switch {
	case err != nil:
		return Error
	case verdict != nil:
		return verdict.Status.Code
	}
	return 0
}

func (e *cycleEnd) code(c *bindingCycle) Code {
	switch {
	case e != nil:
		return e.status.Code
	case len(c.waits) > 0:
		return Wait
	}
	return 0
}
