package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver/client"
)

// loop is the state of a running scheduler. One goroutine owns it, so that a decision is never made
// on a state that is changing, and no event can slip through between a decision and the
// queue: it waits in the inbox meanwhile.
type loop struct {
	*Scheduler
	// ctx ends the loop; requests, a little later, ends what its jobs do.
	ctx, requests context.Context
	queue         *queue
	placed        map[string]*placedPod
	// assumedPods is how many of them are assumed; setPlaced counts.
	assumedPods int
	// groups are the pods, by key, of each pod group.
	groups map[string]map[string]struct{}
	// awaited are the victims, by key, and the pods that wait for their end.
	awaited map[string][]string
	random  *rand.Rand
	// edit is the state that is decided on. It becomes a snapshot when somebody may look: before the
	// loop rests, and now and then while it does not.
	edit *Builder
	// unpublished counts the steps since it last did.
	unpublished int
	// underWay counts the jobs that have not been answered.
	underWay int
}

// placedPod is a pod on a node.
type placedPod struct {
	info *PodInfo
	node string
	// assumed is not nil while only this scheduler knows that the pod is there.
	assumed *queuedPod
	// cycle is what is being done to bind it; nil for pods that someone else has bound.
	cycle *bindingCycle
}

func newLoop(ctx, requests context.Context, s *Scheduler) *loop {
	l := &loop{
		Scheduler: s, ctx: ctx, requests: requests, edit: emptySnapshot.Edit(), placed: map[string]*placedPod{}, groups: map[string]map[string]struct{}{}, awaited: map[string][]string{},
		queue:  newQueue(s.cfg.InitialBackoff, s.cfg.MaxBackoff, s.cfg.queueSort()),
		random: rand.New(rand.NewPCG(s.cfg.Seed, 0)),
	}
	l.queue.tell(&s.cfg.Events)
	return l
}

func (l *loop) run() {
	ctx := l.ctx
	if !l.synced(ctx) {
		return
	}
	l.receive(nil)
	l.publish()
	close(l.ready)
	flush := time.NewTicker(flushInterval)
	defer flush.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var spare []func(*loop)
	for ctx.Err() == nil {
		spare = l.receive(spare)
		if l.placeNext() {
			if l.unpublished++; l.unpublished >= publishEvery {
				l.publish()
			}
			continue
		}
		l.publish()
		// With no capacity for more requests an answer is waited for, not the clock.
		wake := timer.C
		if at, ok := l.queue.deadline(); ok && l.underWay < l.limit() {
			timer.Reset(time.Until(at))
		} else {
			wake = nil
		}
		select {
		case <-ctx.Done():
		case <-l.inbox.signal:
		case <-wake:
		case now := <-flush.C:
			l.queue.flush(now)
		}
	}
}

// receive handles all messages as one batch, and returns memory to use again.
func (l *loop) receive(spare []func(*loop)) []func(*loop) {
	batch := l.inbox.take(spare)
	for i, f := range batch {
		f(l)
		batch[i] = nil
	}
	return batch
}

// publishEvery is how many pods may be placed before a busy loop shows the state to others.
const publishEvery = 64

func (l *loop) publish() {
	l.snapshot.Store(l.edit.Snapshot())
	l.setStats(l.currentStats())
	l.unpublished = 0
}

// limit bounds the requests that are under way or wait for a worker.
func (l *loop) limit() int { return cap(l.jobs) }

// placeNext places the next pod, and tells whether there may be more to do.
func (l *loop) placeNext() bool {
	if l.underWay >= l.limit() {
		return false
	}
	now := time.Now()
	p := l.queue.pop(now)
	if p == nil {
		return false
	}
	p.began = now
	profile := l.cfg.Profiles[p.Pod.Pod.Spec.SchedulerName]
	if profile == nil {
		l.queue.remove(p.Pod.Key)
		return true
	}
	switch group, err := l.gangOf(p, profile); {
	case err != nil:
		l.unplaced(p, err, PostFilterResult{})
		return true
	case group != nil:
		l.placeGang(p, profile, group)
		return true
	}
	pl, err := l.choose(p, profile, Cycle{Pod: p.Pod, Snapshot: &l.edit.s, Handle: l.handle, Random: l.random, brief: profile.brief}, true)
	if err != nil {
		l.unplaced(p, err, pl.room)
		return true
	}
	l.assume(p, profile, pl.Node, pl.states)
	return true
}

// send hands a job to the workers. It waits for them when too much is under way already, which
// happens only when a batch of messages asks for many: they never wait for the loop.
func (l *loop) send(j job) {
	if b, ok := j.(*bindJob); ok && len(b.preBinds) > 0 {
		// What comes before the binding may take minutes: it must not keep workers from others.
		l.slow.Go(func() { b.run(l.requests, l.Scheduler) })
		return
	}
	jobs, batches, b := l.jobs, l.batches, batched{}
	if x, ok := j.(batchJob); ok && l.batcher != nil {
		b = batched{x, x.writes(l.Scheduler)}
	}
	if b.series != nil {
		jobs = nil
	} else {
		batches = nil
	}
	select {
	case jobs <- j:
		l.underWay++
	case batches <- b:
		l.underWay++
	case <-l.ctx.Done():
	}
}

// unplaced puts a pod back that has found no node, makes room for it if that is possible, and says so.
func (l *loop) unplaced(p *queuedPod, err error, room PostFilterResult) {
	l.attempted(p, resultOf(err))
	now := time.Now()
	var fit *FitError
	reason := corev1.PodReasonSchedulerError
	switch {
	case errors.As(err, &fit):
		reason = corev1.PodReasonUnschedulable
		l.refused(p, fit.Plugins(), now)
	case errors.Is(err, ErrNoNodes):
		reason = corev1.PodReasonUnschedulable
		room.Denominate = true
		l.queue.refused(p, nil, kindsOf([]EventKind{NodeAdded}), true, now)
	default:
		l.cfg.Logger.Error("error scheduling pod; retrying", "namespace", p.Pod.Pod.Namespace, "pod", p.Pod.Pod.Name, "err", err)
		room.Denominate = true
		l.queue.errored(p, now)
	}
	switch {
	case room.Nominate != "":
		l.preempt(p, room)
	case room.Denominate:
		l.edit.Denominate(p.Pod.Key)
	}
	l.report(p, reason, err.Error())
}

// report tells people why a pod waits, by an event and by the pod's condition.
func (l *loop) report(p *queuedPod, reason, message string) {
	l.recorder.Event(p.Pod.Pod, corev1.EventTypeWarning, "FailedScheduling", shortened(message))
	l.setCondition(p.Pod.Pod, reason, message)
}

// setCondition writes the pod's condition and its nominated node, if they are not as they should be.
func (l *loop) setCondition(pod *corev1.Pod, reason, message string) {
	if j := newStatusJob(pod, reason, message, l.edit.s.NominatedNode(podKey(pod))); j != nil {
		l.send(j)
	}
}

// waitsStill tells whether a pod whose binding failed still asks for a node, and takes over what has
// changed about it meanwhile.
func (l *loop) waitsStill(p *queuedPod) bool {
	pod, ok := l.pods.Get(p.Pod.Pod.Namespace, p.Pod.Pod.Name)
	if !ok || podKey(pod) != p.Pod.Key || pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || finished(pod) {
		return false
	}
	if pod != p.Pod.Pod {
		p.Pod = NewPodInfo(pod)
	}
	return true
}

func (l *loop) helps(p *queuedPod, e *Event) bool {
	if p.noNodes {
		return e.Kind == NodeAdded
	}
	profile := l.cfg.Profiles[p.Pod.Pod.Spec.SchedulerName]
	return profile != nil && profile.Helps(p.refusedBy, p.Pod, e)
}

// refused puts back a pod that plugins have refused.
func (l *loop) refused(p *queuedPod, by []string, now time.Time) {
	interest := allEvents
	if profile := l.cfg.Profiles[p.Pod.Pod.Spec.SchedulerName]; profile != nil {
		interest = profile.interest(by)
	}
	l.queue.refused(p, by, interest, false, now)
}

func (l *loop) wake(e *Event) {
	now := time.Now()
	if l.queue.entered != nil {
		l.queue.cause = e.label()
		defer func() { l.queue.cause = causeForced }()
	}
	l.queue.wake(e.Kind, func(p *queuedPod) bool {
		helps := l.helps(p, e)
		if helps && p.eviction.busy() {
			p.eviction.missed = true
			return false
		}
		return helps
	}, now)
	l.queue.regate(func(p *queuedPod) bool {
		return l.cfg.Profiles[p.Pod.Pod.Spec.SchedulerName].Helps([]string{p.gatedBy}, p.Pod, e)
	}, func(p *queuedPod) string { return l.gatedBy(p.Pod) }, now)
}

func (l *loop) nodeChanged(old, now *corev1.Node) {
	switch {
	case now == nil:
		l.edit.RemoveNode(old.Name)
		l.wake(&Event{Kind: NodeRemoved, OldNode: old})
	case l.edit.s.Node(now.Name) == nil:
		l.edit.SetNode(now)
		l.wake(l.aboutNode(&Event{Kind: NodeAdded, Node: now}))
	default:
		was := l.edit.s.Node(now.Name)
		l.edit.SetNode(now)
		if nodeDiffers(was.Node, now) {
			l.wake(l.aboutNode(&Event{Kind: NodeUpdated, OldNode: was.Node, Node: now, was: was}))
		}
	}
}

// aboutNode adds to an event what is known of its node.
func (l *loop) aboutNode(e *Event) *Event {
	e.On, e.claims, e.kept = l.edit.s.Node(e.Node.Name), l.edit.s.Nominated(e.Node.Name), &keptNode{}
	return e
}

// nodeDiffers tells whether more than the times of the conditions differ, which change with each
// heartbeat.
func nodeDiffers(a, b *corev1.Node) bool {
	if !reflect.DeepEqual(a.Labels, b.Labels) || !reflect.DeepEqual(a.Annotations, b.Annotations) ||
		!equality.Semantic.DeepEqual(a.Spec, b.Spec) ||
		!equality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) ||
		!slices.Equal(a.Status.DeclaredFeatures, b.Status.DeclaredFeatures) ||
		len(a.Status.Conditions) != len(b.Status.Conditions) {
		return true
	}
	for i := range a.Status.Conditions {
		if a.Status.Conditions[i].Type != b.Status.Conditions[i].Type || a.Status.Conditions[i].Status != b.Status.Conditions[i].Status {
			return true
		}
	}
	return false
}

func (l *loop) namespaceChanged(old, now *corev1.Namespace) {
	if now == nil {
		l.edit.RemoveNamespace(old.Name)
		return
	}
	l.edit.SetNamespace(now.Name, now.Labels)
	if old == nil || !reflect.DeepEqual(old.Labels, now.Labels) {
		l.wake(&Event{Kind: NamespaceUpdated})
	}
}

// objectChanged handles a change of a kind that plugins watch; an assumed object gives way to it.
func (l *loop) objectChanged(old, now client.Object) {
	switch {
	case now == nil:
		l.edit.RemoveObject(old)
		l.wake(&Event{Kind: ObjectRemoved, OldObject: old})
	case old == nil:
		l.edit.SetObject(now)
		l.wake(&Event{Kind: ObjectAdded, Object: now})
	default:
		l.edit.SetObject(now)
		l.wake(&Event{Kind: ObjectUpdated, OldObject: old, Object: now})
	}
}
