package kubelet

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// worker brings one pod to what the API asks for. Its goroutine alone touches state; the effects
// run beside it and report by functions that it calls.
type worker struct {
	k     *Kubelet
	uid   types.UID
	state podState
	// cancels stop the effects that run, by key; starts tells which of them start a container.
	cancels  map[string]context.CancelFunc
	verbs    map[string]verb
	graces   map[string]time.Duration
	messages map[string]string // by container ID: its last words, and what was said of its stop
	status   *statusWriter
	effects  sync.WaitGroup
	rejected bool          // the node did not admit the pod; set before run
	finished chan struct{} // closed after run

	mu      sync.Mutex
	pod     *corev1.Pod
	gone    bool
	dirty   bool // the runtime has news
	reports []func()
	wake    chan struct{}
}

func newWorker(k *Kubelet, pod *corev1.Pod) *worker {
	w := &worker{
		k: k, uid: pod.UID, pod: pod, dirty: false,
		cancels: map[string]context.CancelFunc{}, verbs: map[string]verb{},
		graces: map[string]time.Duration{}, messages: map[string]string{},
		wake: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	w.status = newStatusWriter(k)
	w.state = podState{Pod: pod, FirstSeen: time.Now(), Busy: map[string]bool{}, HostIPs: k.hostIPs()}
	recall(&w.state, time.Now())
	return w
}

func (w *worker) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// update tells the worker the pod's newest version, or that the API no longer has it.
func (w *worker) update(pod *corev1.Pod, gone bool) {
	w.mu.Lock()
	w.pod, w.gone = pod, w.gone || gone
	w.mu.Unlock()
	w.kick()
}

// news tells the worker that the runtime's state of the pod changed.
func (w *worker) news() {
	w.mu.Lock()
	w.dirty = true
	w.mu.Unlock()
	w.kick()
}

// report makes the worker call f.
func (w *worker) report(f func()) {
	w.mu.Lock()
	w.reports = append(w.reports, f)
	w.mu.Unlock()
	w.kick()
}

// answer is report for what an action led to.
func (w *worker) answer(f func()) {
	w.mu.Lock()
	w.dirty, w.reports = true, append(w.reports, f)
	w.mu.Unlock()
	w.kick()
}

// run works until the pod is gone for good or ctx ends. It returns when all that it started has.
func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	w.status.run(ctx)
	defer func() {
		cancel()
		w.effects.Wait()
		w.status.stop()
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		if !w.take(ctx) {
			select {
			case <-ctx.Done():
			case <-time.After(observeRetry):
			}
			continue
		}
		now := time.Now()
		acts, wake := plan(&w.state, now)
		w.interrupt(now)
		for _, a := range acts {
			w.perform(ctx, a, now)
		}
		w.publish(now)
		if w.over() {
			return
		}
		if len(acts) > 0 && acts[len(acts)-1].Do == doNote {
			continue // a note is done at once and may ask for another time
		}
		if wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(wake.Sub(now), time.Millisecond))
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// observeRetry is how long the worker waits when the runtime does not tell the pod's state.
const observeRetry = 200 * time.Millisecond

// take brings the state up to date with all that was told since. What an action answered is taken
// after the runtime was asked for the state that the action led to. It reports false when the
// runtime did not tell: then nothing was taken, and nothing must be decided.
func (w *worker) take(ctx context.Context) bool {
	w.mu.Lock()
	pod, gone, dirty, reports := w.pod, w.gone, w.dirty, w.reports
	w.dirty, w.reports = false, nil
	w.mu.Unlock()
	if dirty && !w.observe(ctx) {
		w.mu.Lock()
		w.dirty, w.reports = true, append(reports, w.reports...)
		w.mu.Unlock()
		return false
	}
	w.state.Pod, w.state.Gone = pod, gone
	w.status.saw(pod)
	for _, f := range reports {
		f()
	}
	return true
}

// observe reads the state of the pod's sandbox, and reports whether the runtime told it.
func (w *worker) observe(ctx context.Context) bool {
	s := &w.state
	if s.Sandbox == nil {
		return true
	}
	sb, err := w.k.cfg.Runtime.Sandbox(ctx, s.Sandbox.ID)
	switch {
	case err == nil:
		w.readMessages(&sb)
		s.observe(&sb, time.Now())
	case isGone(err):
		s.observe(nil, time.Now())
	default:
		if ctx.Err() == nil {
			w.k.log.Error("can't read the state of a sandbox", "pod", podName(s.Pod), "err", err)
		}
		return false
	}
	return true
}

// interrupt cancels effects that a newer wish overtook: starts of a pod that ends, and stops whose
// grace period was shortened.
func (w *worker) interrupt(now time.Time) {
	end := w.state.ending(now)
	if end == nil {
		return
	}
	for key, cancel := range w.cancels {
		switch w.verbs[key] {
		case doStart, doVolumes, doSandbox, doProbe:
			cancel()
		case doStop:
			if end.Grace < w.graces[key] {
				cancel()
			}
		}
	}
}

// over tells that the pod is gone and nothing of it is left.
func (w *worker) over() bool {
	s := &w.state
	return s.Gone && s.Cleaned && s.Sandbox == nil && len(s.Busy) == 0
}

// perform begins an action.
func (w *worker) perform(ctx context.Context, a action, now time.Time) {
	if a.Do == doNote {
		w.note(a)
		return
	}
	key := a.key()
	effect := w.effect(a, now)
	ctx, cancel := context.WithCancel(ctx)
	w.state.Busy[key], w.cancels[key], w.verbs[key], w.graces[key] = true, cancel, a.Do, a.Grace
	w.effects.Go(func() {
		apply := w.guarded(ctx, a, effect)
		w.answer(func() {
			delete(w.state.Busy, key)
			delete(w.cancels, key)
			if apply != nil {
				apply() // it tells by ctx whether it was interrupted
			}
			cancel()
		})
	})
}

// guarded runs an effect and contains its panic.
func (w *worker) guarded(ctx context.Context, a action, effect func(context.Context) func()) (apply func()) {
	defer func() {
		if p := recover(); p != nil {
			w.k.log.Error("an action on a pod panicked", "pod", podName(w.state.Pod), "action", a.Do,
				"container", a.Container, "panic", p, "stack", string(debug.Stack()))
			apply = func() { w.failed(a, fmt.Errorf("internal error: %v", p)) }
		}
	}()
	return effect(ctx)
}

// failed makes an action that could not be carried out wait.
func (w *worker) failed(a action, err error) {
	s, retry := &w.state, time.Now().Add(backoffFirst)
	switch a.Do {
	case doVolumes:
		s.VolumesRetry = retry
	case doStop:
		s.record(a.Container).StopRetry = retry
	case doPrune:
		s.PruneRetry = retry
	case doStart, doProbe:
		r := s.record(a.Container)
		r.Retry, r.Wait = retry, waiting{"CreateContainerError", err.Error()}
	case doDelete:
		s.DeleteRetry = retry
	default:
		s.SandboxRetry = retry
	}
}

// note tells of a back-off.
func (w *worker) note(a action) {
	r := w.state.record(a.Container)
	r.BackoffSaid, r.Wait = a.Until, waiting{a.Reason, a.Message}
	pod := w.state.Pod
	if a.Reason == "CrashLoopBackOff" {
		w.k.containerEvent(pod, a.Container, corev1.EventTypeWarning, "BackOff",
			fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", a.Container, pod.Name, pod.Namespace, pod.UID))
		return
	}
	w.k.containerEvent(pod, a.Container, corev1.EventTypeNormal, "BackOff", a.Message)
	w.k.containerEvent(pod, a.Container, corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
}

func (w *worker) publish(now time.Time) {
	if w.state.Gone || w.state.Deleted {
		return
	}
	w.status.want(makeStatus(&w.state, w.k.runtimeName, now))
}

// recall takes over from the API what an earlier kubelet, whose containers are gone, reported.
func recall(s *podState, now time.Time) {
	st := s.Pod.Status
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for _, c := range list {
			if c.ContainerID == "" && c.State.Terminated == nil {
				continue
			}
			r := s.record(c.Name)
			r.Restarts = c.RestartCount
			cur := &Container{ID: c.ContainerID, Name: c.Name, Attempt: uint32(c.RestartCount), Image: c.Image, ImageID: c.ImageID, State: ContainerRunning}
			switch {
			case c.State.Terminated != nil:
				recallEnd(cur, c.State.Terminated)
			case c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
				recallEnd(cur, c.LastTerminationState.Terminated)
			case c.State.Running != nil:
				cur.StartedAt = c.State.Running.StartedAt.Time
			}
			r.Current = cur
			r.lose(now)
		}
	}
}

func recallEnd(c *Container, t *corev1.ContainerStateTerminated) {
	c.State, c.ExitCode, c.Signal, c.Reason, c.Message = ContainerExited, int(t.ExitCode), int(t.Signal), t.Reason, t.Message
	c.StartedAt, c.FinishedAt = t.StartedAt.Time, t.FinishedAt.Time
	if t.ContainerID != "" {
		c.ID = t.ContainerID
	}
}

func podName(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
