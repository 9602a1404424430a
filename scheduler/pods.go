package scheduler

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver/client"
)

// podChanged handles one change of a pod; old is nil when it was created, now when it was deleted.
func (l *loop) podChanged(old, now *corev1.Pod) {
	if l.watchesPods {
		l.objectChanged(asObject(old), asObject(now))
	}
	l.memberChanged(old, now)
	if old != nil && (now == nil || old.UID != now.UID) {
		// A pod that was deleted and made again under its name is another pod.
		l.podGone(podKey(old))
		old = nil
	}
	if now == nil {
		return
	}
	switch {
	case finished(now):
		l.podGone(podKey(now))
	case now.Spec.NodeName != "":
		l.podOnNode(now)
	default:
		l.podWaits(old, now)
	}
}

// podGone handles a pod that no longer takes room, because it was deleted or has finished.
func (l *loop) podGone(key string) {
	l.forget(key)
	at := l.placed[key]
	if at == nil {
		return
	}
	l.dropWaiting(at)
	l.setPlaced(key, nil)
	l.edit.RemovePod(key, at.node)
	l.wake(l.removed(at.info, at.node))
	l.victimGone(key)
}

// setPlaced notes where a pod is; nil means on no node.
func (l *loop) setPlaced(key string, at *placedPod) {
	if old := l.placed[key]; old != nil && old.assumed != nil {
		l.assumedPods--
	}
	if at == nil {
		delete(l.placed, key)
		return
	}
	if at.assumed != nil {
		l.assumedPods++
	}
	l.placed[key] = at
}

// removed is the event that a pod is no longer on a node.
func (l *loop) removed(pod *PodInfo, node string) *Event {
	return &Event{Kind: PodRemoved, Pod: pod, On: l.edit.s.Node(node), claims: l.edit.s.Nominated(node), kept: &keptNode{}}
}

// forget removes a pod from the queue. What was reserved for it on a node is there for others.
func (l *loop) forget(key string) {
	p := l.queue.pods[key]
	if l.queue.remove(key); p == nil {
		return
	}
	if node := l.edit.Denominate(key); node != "" {
		l.wake(l.removed(p.Pod, node))
	}
}

// dropWaiting ends the binding cycle of a pod that waits for permission. One that has gone further
// comes to its end by itself.
func (l *loop) dropWaiting(at *placedPod) {
	if at.cycle != nil && len(at.cycle.waits) > 0 {
		l.undo(at.cycle)
		l.attempted(at.cycle.queued, AttemptUnschedulable)
	}
}

// podOnNode handles a pod that has a node, whoever gave it one.
func (l *loop) podOnNode(pod *corev1.Pod) {
	key := podKey(pod)
	l.forget(key)
	info := NewPodInfo(pod)
	at := l.placed[key]
	if at != nil && at.node != pod.Spec.NodeName {
		// Someone else was faster than our binding.
		l.dropWaiting(at)
		l.edit.RemovePod(key, at.node)
		l.wake(l.removed(at.info, at.node))
		at = nil
	}
	l.setPlaced(key, &placedPod{info: info, node: pod.Spec.NodeName})
	l.edit.AddPod(info, pod.Spec.NodeName)
	switch {
	case at == nil || at.assumed != nil:
		l.wake(&Event{Kind: PodAssigned, Pod: info})
	case shrank(at.info, info):
		// Room was given up, as it is when a pod goes.
		l.wake(l.removed(info, pod.Spec.NodeName))
	case !maps.Equal(at.info.Pod.Labels, pod.Labels) || at.info.Pod.DeletionTimestamp.IsZero() != pod.DeletionTimestamp.IsZero():
		l.wake(&Event{Kind: PodUpdated, OldPod: at.info, Pod: info})
	}
}

// shrank tells whether a pod now requests less of anything.
func shrank(old, now *PodInfo) bool {
	a, b := &old.Requests, &now.Requests
	if b.MilliCPU < a.MilliCPU || b.Memory < a.Memory || b.EphemeralStorage < a.EphemeralStorage {
		return true
	}
	for _, s := range a.scalars {
		if b.Scalar(s.name) < s.amount {
			return true
		}
	}
	return false
}

// podWaits handles a pod without a node.
func (l *loop) podWaits(old, now *corev1.Pod) {
	key := podKey(now)
	if l.cfg.Profiles[now.Spec.SchedulerName] == nil || now.DeletionTimestamp != nil {
		l.forget(key)
		return
	}
	if l.placed[key] != nil {
		return // it is being bound
	}
	// A change of the status alone, such as that of the condition set here, is no reason to try
	// the pod again.
	retry := old != nil && (!maps.Equal(old.Labels, now.Labels) || !equality.Semantic.DeepEqual(&old.Spec, &now.Spec))
	info := NewPodInfo(now)
	l.followNomination(old, info)
	gatedBy := l.gatedBy(info)
	l.queue.set(info, gatedBy, retry, time.Now())
	if gatedBy == NameSchedulingGates {
		l.setCondition(now, corev1.PodReasonSchedulingGated, "Scheduling is blocked due to non-empty scheduling gates")
	}
}

// gatedBy returns the name of the plugin that keeps a pod out of the queue.
func (l *loop) gatedBy(pod *PodInfo) string {
	name, _ := l.cfg.Profiles[pod.Pod.Spec.SchedulerName].preEnqueue(&l.edit.s, pod)
	return name
}

// asObject keeps a nil pod from becoming an object that is not nil.
func asObject(pod *corev1.Pod) client.Object {
	if pod == nil {
		return nil
	}
	return pod
}
