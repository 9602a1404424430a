package scheduler

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// bindingCycle is what follows the choice of a node: reserve, permit, pre-bind, bind. The loop owns it
// but while its job runs.
type bindingCycle struct {
	// pod is the pod as it was when its node was chosen; queued is what the queue knows of it.
	pod     *PodInfo
	queued  *queuedPod
	node    string
	profile *Profile
	// states are what PreFilter or Reserve returned, by the plugin's slot; nil when nobody needs them.
	states []any
	// reserved is how many of the profile's ReservePlugins have set something aside.
	reserved int
	assumed  []client.Object
	// preBinds are the plugins that have something to do for this pod.
	preBinds []stage[PreBindPlugin]
	// waits are the timers of the PermitPlugins that hold the pod; see waitingPods.
	waits map[string]*time.Timer
}

func (c *bindingCycle) state(slot int) any {
	if c.states == nil {
		return nil
	}
	return c.states[slot]
}

// binding returns what the plugin of a slot is told.
func (c *bindingCycle) binding(h *Handle, slot int) *Binding {
	return &Binding{Pod: c.pod, Node: c.node, State: c.state(slot), Handle: h}
}

// step runs one plugin and turns its panic into a status.
func step(f func() *Status) (s *Status) {
	defer func() {
		if v := recover(); v != nil {
			s = AsStatus(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	return f()
}

// verdict is the answer of one plugin that ends a binding cycle; nil means that none did.
type cycleEnd struct {
	plugin, point string
	status        *Status
}

// assume puts a pod on the node that was chosen for it, and starts its binding cycle.
func (l *loop) assume(p *queuedPod, profile *Profile, node string, states []any) {
	c, end := l.put(p, profile, node, states)
	if end == nil {
		end = l.permit(c)
	}
	l.goOn(c, end)
}

// put puts a pod on a node and reserves what it needs. Where that ends the cycle, the pod is to be taken off again.
func (l *loop) put(p *queuedPod, profile *Profile, node string, states []any) (*bindingCycle, *cycleEnd) {
	c := &bindingCycle{pod: p.Pod, queued: p, node: node, profile: profile, states: states}
	delete(l.queue.pods, p.Pod.Key)
	l.edit.Denominate(p.Pod.Key)
	p.eviction = nil
	began := l.handle.begin()
	end := l.reserve(c)
	l.handle.ran("Reserve", c.pod, end.code(c), began)
	// The pod counts from now on, while it is being bound.
	l.setPlaced(p.Pod.Key, &placedPod{info: p.Pod, node: node, assumed: p, cycle: c})
	l.edit.AddPod(p.Pod, node)
	for _, obj := range c.assumed {
		l.edit.SetObject(obj)
	}
	return c, end
}

// goOn hands a pod that was permitted to the workers, and takes one that was not off its node.
func (l *loop) goOn(c *bindingCycle, end *cycleEnd) {
	switch {
	case end != nil:
		l.giveUp(c, end)
	case len(c.waits) == 0:
		l.bind(c)
	}
}

func (l *loop) reserve(c *bindingCycle) *cycleEnd {
	if len(c.profile.reserves) == 0 {
		return nil
	}
	cycle := &Cycle{Pod: c.pod, Snapshot: &l.edit.s, Handle: l.handle}
	node := l.edit.s.Node(c.node)
	for i := range c.profile.reserves {
		st := &c.profile.reserves[i]
		c.reserved = i + 1
		status := step(func() *Status {
			r, status := st.plugin.Reserve(cycle, c.state(st.slot), node)
			if status == nil {
				c.states[st.slot] = r.State
				c.assumed = append(c.assumed, r.Assumed...)
			}
			return status
		})
		if status != nil {
			return &cycleEnd{st.name, "Reserve", status}
		}
	}
	return nil
}

// longestPermitWait bounds what Permit may ask for; it is kube-scheduler's.
const longestPermitWait = 15 * time.Minute

func (l *loop) permit(c *bindingCycle) *cycleEnd {
	began := l.handle.begin()
	end := l.askPermits(c)
	l.handle.ran("Permit", c.pod, end.code(c), began)
	return end
}

func (l *loop) askPermits(c *bindingCycle) *cycleEnd {
	if len(c.profile.permits) == 0 {
		return nil
	}
	cycle := &Cycle{Pod: c.pod, Snapshot: &l.edit.s, Handle: l.handle}
	node := l.edit.s.Node(c.node)
	for i := range c.profile.permits {
		st := &c.profile.permits[i]
		var timeout time.Duration
		status := step(func() (s *Status) {
			s, timeout = st.plugin.Permit(cycle, c.state(st.slot), node)
			return s
		})
		if status == nil {
			continue
		}
		if status.Code != Wait {
			return &cycleEnd{st.name, "Permit", status}
		}
		timeout = min(timeout, longestPermitWait)
		key, name := c.pod.Key, st.name
		l.waiting.hold(c, name, timeout, func() {
			l.inbox.post(func(l *loop) {
				l.rejected(key, c, name, fmt.Sprintf("rejected due to timeout after waiting %v at plugin %s", timeout, name))
			})
		})
	}
	return nil
}

// allowed is the answer that Permit has asked to wait for.
func (l *loop) allowed(key, plugin string) {
	if c := l.waiting.get(key); c != nil && l.waiting.release(c, plugin) {
		l.bind(c)
	}
}

// rejected is the other answer. Of, when not nil, is the cycle that is meant.
func (l *loop) rejected(key string, of *bindingCycle, plugin, reason string) {
	c := l.waiting.get(key)
	if c == nil || of != nil && c != of {
		return
	}
	l.giveUp(c, &cycleEnd{plugin, "Permit", NewStatus(Unschedulable, reason)})
}

// bind hands a cycle that may go on to the workers.
func (l *loop) bind(c *bindingCycle) {
	for i := range c.profile.preBinds {
		st := c.profile.preBinds[i]
		status := step(func() *Status { return st.plugin.PreBindPreFlight(c.binding(l.handle, st.slot)) })
		switch {
		case status == nil:
			c.preBinds = append(c.preBinds, st)
		case status.Code != Skip:
			l.giveUp(c, &cycleEnd{st.name, "PreBindPreFlight", status})
			return
		}
	}
	l.send(&bindJob{c})
}

// giveUp takes a pod off its node again, and puts it back into the queue.
func (l *loop) giveUp(c *bindingCycle, end *cycleEnd) {
	l.undo(c)
	p, key := c.queued, c.pod.Key
	result := AttemptError
	if end.status.Rejected() {
		result = AttemptUnschedulable
	}
	l.attempted(p, result)
	at := l.placed[key]
	if at == nil || at.cycle != c {
		return // the watch has told of a binding or of the end of the pod already
	}
	l.setPlaced(key, nil)
	l.edit.RemovePod(key, at.node)
	// The room helps others, but not the pod itself, which is not in the queue now.
	l.wake(l.removed(at.info, at.node))
	cause := end.status.cause()
	if !l.waitsStill(p) || gone(cause) {
		return
	}
	l.queue.pods[key] = p
	if end.status.Rejected() {
		fit := &FitError{Pod: p.Pod.Pod, NumAllNodes: 1, Nodes: []Verdict{{Node: c.node, Plugin: end.plugin, Status: end.status}}}
		l.refused(p, []string{end.plugin}, time.Now())
		p.pending = end.status.Code == Pending
		l.report(p, corev1.PodReasonUnschedulable, fit.Error())
		return
	}
	l.queue.errored(p, time.Now())
	l.report(p, corev1.PodReasonSchedulerError, (&PluginError{Plugin: end.plugin, Point: end.point, Err: cause}).Error())
}

// undo takes back what a cycle has reserved.
func (l *loop) undo(c *bindingCycle) {
	l.waiting.drop(c)
	for i := c.reserved - 1; i >= 0; i-- {
		st := &c.profile.reserves[i]
		if status := step(func() *Status {
			st.plugin.Unreserve(c.pod, c.node, c.state(st.slot))
			return nil
		}); status != nil {
			l.cfg.Logger.Error("Unreserve failed", "plugin", st.name, "err", status.cause())
		}
	}
	c.reserved = 0
	for _, obj := range c.assumed {
		l.restore(obj)
	}
	c.assumed = nil
}

// restore puts what the API server has in the place of an assumed object.
func (l *loop) restore(obj client.Object) {
	r := l.objects[reflect.TypeOf(obj)]
	if r == nil {
		return
	}
	if now, ok := r.view.Get(obj.GetNamespace(), obj.GetName()); ok {
		l.edit.SetObject(now)
	} else {
		l.edit.RemoveObject(obj)
	}
}

// bindJob carries a binding cycle to its end.
type bindJob struct{ *bindingCycle }

func (j *bindJob) run(ctx context.Context, s *Scheduler) {
	s.binding.Add(1)
	defer s.binding.Add(-1)
	j.finish(s, j.steps(ctx, s.handle))
}

// finish says what became of a binding cycle.
func (j *bindJob) finish(s *Scheduler, end *cycleEnd) {
	if end == nil {
		s.attempted(j.queued, AttemptScheduled)
	}
	s.inbox.post(func(l *loop) { l.bound(j.bindingCycle, end) })
	pod := j.pod.Pod
	if end != nil {
		s.cfg.Logger.Error("failed to bind pod", "namespace", pod.Namespace, "pod", pod.Name, "node", j.node,
			"plugin", end.plugin, "point", end.point, "err", end.status.cause())
		return
	}
	s.cfg.Logger.Debug("bound pod", "namespace", pod.Namespace, "pod", pod.Name, "node", j.node)
	s.recorder.Eventf(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, j.node)
	for i := range j.profile.postBinds {
		st := &j.profile.postBinds[i]
		if status := step(func() *Status {
			st.plugin.PostBind(j.binding(s.handle, st.slot))
			return nil
		}); status != nil {
			s.cfg.Logger.Error("PostBind failed", "plugin", st.name, "err", status.cause())
		}
	}
}

func (j *bindJob) steps(ctx context.Context, h *Handle) *cycleEnd {
	for i := range j.preBinds {
		st := &j.preBinds[i]
		if status := step(func() *Status { return st.plugin.PreBind(ctx, j.binding(h, st.slot)) }); status != nil {
			return &cycleEnd{st.name, "PreBind", status}
		}
	}
	for i := range j.profile.binds {
		st := &j.profile.binds[i]
		// A client is given by the caller; its panic must not leave the pod assumed for ever.
		status := step(func() *Status { return st.plugin.Bind(ctx, j.binding(h, st.slot)) })
		if status == nil {
			return nil
		}
		if status.Code != Skip {
			return &cycleEnd{st.name, "Bind", status}
		}
	}
	return &cycleEnd{"", "Bind", AsStatus(errors.New("all Bind plugins skipped the pod"))}
}

// bound is the end of a bindJob.
func (l *loop) bound(c *bindingCycle, end *cycleEnd) {
	if len(c.preBinds) == 0 {
		l.underWay--
	}
	if end != nil {
		l.giveUp(c, end)
	}
}
