package scheduler

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eviction is what makes room for one pod.
type eviction struct {
	// awaits are the victims that are still there, by key; requests is how many requests to evict
	// them are under way.
	awaits   map[string]bool
	requests int
	// missed tells that something happened meanwhile that may help the pod.
	missed bool
	// group is not nil when the room is for all of a group.
	group *schedulingv1beta1.PodGroup
}

// busy tells whether requests are under way: until they are answered the pod need not be tried.
func (e *eviction) busy() bool { return e != nil && e.requests > 0 }

// preempt nominates a node for a pod that was refused, and evicts others from it. The pod is tried again
// once they are gone.
func (l *loop) preempt(p *queuedPod, room PostFilterResult) {
	l.edit.Nominate(p.Pod, room.Nominate)
	l.displaceClaims(p.Pod, room.Nominate)
	victims := make([]Victim, len(room.Victims))
	for i, v := range room.Victims {
		victims[i] = Victim{Pod: v, Node: room.Nominate}
		if at := l.placed[v.Key]; at != nil {
			victims[i].Node = at.node // of a group that ends together it may be elsewhere
		}
	}
	l.evictAll(p, nil, victims)
}

// evictAll evicts pods for one pod, or for the group that it is of.
func (l *loop) evictAll(p *queuedPod, group *schedulingv1beta1.PodGroup, victims []Victim) {
	p.eviction = &eviction{awaits: map[string]bool{}, group: group}
	if f := l.cfg.Events.Preempting; f != nil && len(victims) > 0 {
		f(len(victims))
	}
	for _, v := range victims {
		l.evict(p, v.Pod, v.Node)
	}
	l.roomMade(p)
}

// displaceClaims makes pods of lower priority that wait for room on a node look elsewhere.
func (l *loop) displaceClaims(by *PodInfo, node string) {
	for _, q := range l.edit.s.Nominated(node) {
		if q.Priority >= by.Priority {
			continue
		}
		l.edit.Denominate(q.Key)
		if q.Pod.Status.NominatedNodeName != "" {
			l.send(newDenominateJob(q.Pod))
		}
		if p := l.queue.pods[q.Key]; p != nil && p.where == inUnschedulable && !p.eviction.busy() {
			l.queue.activate(p)
		}
	}
}

// evict makes a pod leave its node for p.
func (l *loop) evict(p *queuedPod, victim *PodInfo, node string) {
	if c := l.waiting.get(victim.Key); c != nil {
		// It is not bound yet, and goes back to the queue.
		l.giveUp(c, &cycleEnd{NameDefaultPreemption, "Permit", NewStatus(Unschedulable, "preempted")})
		l.recorder.Event(victim.Pod, corev1.EventTypeNormal, "Preempted", p.eviction.preempted(p.Pod.Pod, node)+" (in kube-scheduler memory).")
		return
	}
	p.eviction.awaits[victim.Key] = true
	l.awaited[victim.Key] = append(l.awaited[victim.Key], p.Pod.Key)
	if victim.Pod.DeletionTimestamp == nil {
		l.markEvicted(victim, node, p.Pod)
		p.eviction.requests++
		l.send(&evictJob{eviction: p.eviction, victim: victim.Pod, key: victim.Key, by: p.Pod, node: node})
	}
}

// markEvicted makes a pod look as it will once the API server tells of its eviction, so that nobody evicts
// it again, or another one in its place.
func (l *loop) markEvicted(victim *PodInfo, node string, by *PodInfo) {
	pod, now := *victim.Pod, metav1.Now()
	pod.DeletionTimestamp = &now
	pod.Status.Conditions = slices.DeleteFunc(slices.Clone(pod.Status.Conditions), func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget
	})
	pod.Status.Conditions = append(pod.Status.Conditions, evictedCondition(victim.Pod, by.Pod))
	l.replacePlaced(victim.Key, NewPodInfo(&pod), node)
}

// replacePlaced gives a pod on a node another state.
func (l *loop) replacePlaced(key string, info *PodInfo, node string) {
	at := l.placed[key]
	if at == nil || at.node != node {
		return
	}
	old := at.info
	at.info = info
	l.edit.AddPod(info, node)
	l.wake(&Event{Kind: PodUpdated, OldPod: old, Pod: info})
}

// preempted tells for whom a pod had to go.
func (e *eviction) preempted(by *corev1.Pod, node string) string {
	if e.group != nil {
		return "Preempted by podgroup " + string(e.group.UID) + " on node " + node
	}
	return "Preempted by pod " + string(by.UID) + " on node " + node
}

// victimGone tells the pods that wait for a victim's end.
func (l *loop) victimGone(key string) {
	for _, by := range l.awaited[key] {
		if p := l.queue.pods[by]; p != nil && p.eviction != nil && p.eviction.awaits[key] {
			delete(p.eviction.awaits, key)
			l.roomMade(p)
		}
	}
	delete(l.awaited, key)
}

// roomMade makes a pod active whose room is made, or that has a reason not to wait for it.
func (l *loop) roomMade(p *queuedPod) {
	switch {
	case p.eviction.busy():
	case len(p.eviction.awaits) == 0:
		l.queue.roomMade(p)
	case p.eviction.missed && p.where == inUnschedulable:
		p.eviction.missed = false
		l.queue.wakeUp(p, time.Now())
	}
}

// evicted is the answer to an evictJob.
func (l *loop) evicted(j *evictJob, err error) {
	l.underWay--
	j.eviction.requests--
	if err != nil {
		l.notEvicted(j)
		return
	}
	at := l.placed[j.key]
	if at != nil && at.info.Pod.DeletionTimestamp == nil {
		l.markEvicted(at.info, j.node, j.by) // a change from before the eviction came in between
	}
	if p := l.queue.pods[j.by.Key]; p != nil && p.eviction == j.eviction {
		if at == nil {
			delete(p.eviction.awaits, j.key)
		}
		l.roomMade(p)
	}
}

// notEvicted lets all pods that wait for the end of a pod look for another way, or try once more.
func (l *loop) notEvicted(j *evictJob) {
	if pod, ok := l.pods.Get(j.victim.Namespace, j.victim.Name); ok && podKey(pod) == j.key {
		l.replacePlaced(j.key, NewPodInfo(pod), j.node)
	}
	for _, by := range l.awaited[j.key] {
		if p := l.queue.pods[by]; p != nil && p.eviction != nil && p.eviction.awaits[j.key] {
			p.eviction = nil
			l.queue.errored(p, time.Now())
		}
	}
	delete(l.awaited, j.key)
}

// followNomination takes over what the API server says about a pod's nominated node. What this scheduler
// has decided stands as long as the API server does not say anything new.
func (l *loop) followNomination(old *corev1.Pod, pod *PodInfo) {
	now := pod.Pod.Status.NominatedNodeName
	switch here := l.edit.s.NominatedNode(pod.Key); {
	case old != nil && old.Status.NominatedNodeName == now:
		if here != "" {
			l.edit.Nominate(pod, here) // its newest state
		}
	case now != "":
		l.edit.Nominate(pod, now)
	case here != "":
		l.edit.Denominate(pod.Key)
		l.wake(l.removed(pod, here))
	}
}

// evictJob deletes a pod to make room for another.
type evictJob struct {
	eviction *eviction
	victim   *corev1.Pod
	key      string
	by       *PodInfo
	node     string
}

func (j *evictJob) run(ctx context.Context, s *Scheduler) {
	status := step(func() *Status { return AsStatus(j.evict(ctx, s)) })
	if status == nil {
		j.finish(s, nil)
		return
	}
	j.finish(s, status.cause())
}

// finish says what became of the victim.
func (j *evictJob) finish(s *Scheduler, err error) {
	s.inbox.post(func(l *loop) { l.evicted(j, err) })
	ns, name := j.victim.Namespace, j.victim.Name
	if err != nil {
		s.cfg.Logger.Error("failed to preempt pod", "namespace", ns, "pod", name, "node", j.node, "err", err)
		return
	}
	s.cfg.Logger.Debug("preempted pod", "namespace", ns, "pod", name, "node", j.node, "by", j.by.Pod.Name)
	s.recorder.Event(j.victim, corev1.EventTypeNormal, "Preempted", j.eviction.preempted(j.by.Pod, j.node))
}

// evict says on the pod why it has to go, and deletes it. A pod that is gone already is no error.
func (j *evictJob) evict(ctx context.Context, s *Scheduler) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	ns, name := j.victim.Namespace, j.victim.Name
	c := evictedCondition(j.victim, j.by.Pod)
	if !sameCondition(j.victim, &c) {
		if err := (&statusChange{condition: &c}).write(ctx, s, j.victim); err != nil {
			return j.unlessGone(err)
		}
	}
	return j.unlessGone(s.podClient.Delete(ctx, ns, name, *j.options()))
}

func evictedCondition(victim, by *corev1.Pod) corev1.PodCondition {
	return corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
		Message:            by.Spec.SchedulerName + ": preempting to accommodate a higher priority pod",
		ObservedGeneration: victim.Generation, LastTransitionTime: metav1.Now(),
	}
}

// unlessGone drops an error that means that the victim is no more.
func (j *evictJob) unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
