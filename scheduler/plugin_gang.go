package scheduler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"

	"github.com/inboard/inboard/apiserver/client"
)

// GangScheduling keeps the pods of a PodGroup with a gang policy out of the queue until the group has minCount of
// them. With it in the profile a Scheduler, and ScheduleAll, place such a group as a whole: at least minCount of its
// pods, those that have a node already included, get one, or none does. So no group holds room while it waits for
// more, and two can't wait for each other.
// https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/
type GangScheduling struct{}

// Name implements Plugin.
func (GangScheduling) Name() string { return NameGangScheduling }

// Watches implements Watcher.
func (GangScheduling) Watches() []client.Object {
	return []client.Object{&schedulingv1beta1.PodGroup{}}
}

var (
	waitForMembers    = NewStatus(UnschedulableAndUnresolvable, "waiting for minCount pods from a gang to appear in scheduling queue")
	refuseConstraints = NewStatus(UnschedulableAndUnresolvable, "this scheduler does not support spec.schedulingConstraints of pod groups")
	refuseComposite   = NewStatus(UnschedulableAndUnresolvable, "this scheduler does not support spec.parentCompositePodGroupName of pod groups")
)

// PreEnqueue implements PreEnqueuePlugin.
func (GangScheduling) PreEnqueue(s *Snapshot, pod *PodInfo) *Status {
	if pod.Pod.Spec.SchedulingGroup == nil {
		return nil
	}
	group, status := podGroupOf(s, pod.Pod)
	if status != nil {
		return status
	}
	if n, _ := s.members.get(groupKey(pod.Pod)); n < minCount(group) {
		return waitForMembers
	}
	return nil
}

// Helps implements EventHinter. The loop itself wakes the pods of a group that gets another one.
func (GangScheduling) Helps(pod *PodInfo, e *Event) bool {
	group, ok := e.Object.(*schedulingv1beta1.PodGroup)
	return ok && objectKey(group.Namespace, group.Name) == groupKey(pod.Pod)
}

// EventsToRegister implements EnqueueExtensions.
func (GangScheduling) EventsToRegister() []EventKind { return []EventKind{ObjectAdded, ObjectUpdated} }

// groupKey returns the namespace and name of the pod's group, or nothing.
func groupKey(pod *corev1.Pod) string {
	if g := pod.Spec.SchedulingGroup; g != nil && g.PodGroupName != nil {
		return objectKey(pod.Namespace, *g.PodGroupName)
	}
	return ""
}

// podGroupOf returns the group of a pod that has one, or why the pod can't be placed for now.
func podGroupOf(s *Snapshot, pod *corev1.Pod) (*schedulingv1beta1.PodGroup, *Status) {
	name := ""
	if n := pod.Spec.SchedulingGroup.PodGroupName; n != nil {
		name = *n
	}
	group, ok := Object[*schedulingv1beta1.PodGroup](s, pod.Namespace, name)
	switch {
	case !ok:
		return nil, NewStatus(UnschedulableAndUnresolvable, fmt.Sprintf("waiting for pods's pod group %q to appear in scheduling queue", name))
	case group.Spec.SchedulingConstraints != nil && len(group.Spec.SchedulingConstraints.Topology) > 0:
		return nil, refuseConstraints
	case group.Spec.ParentCompositePodGroupName != nil:
		return nil, refuseComposite
	}
	return group, nil
}

// minCount is how many pods make up the group; a group without a gang policy asks for none.
func minCount(group *schedulingv1beta1.PodGroup) int {
	if gang := group.Spec.SchedulingPolicy.Gang; gang != nil {
		return int(gang.MinCount)
	}
	return 0
}

// GangError says that a group was not placed because too few of its pods fit. It is the error of those pods that
// would have fitted; the others have their own. Its text is kube-scheduler's.
type GangError struct {
	// MinCount pods are needed; Scheduled had a node or would have fitted when the search ended, Remaining were
	// not looked at any more.
	MinCount, Scheduled, Remaining int
	// PostFilter is what the PodGroupPostFilter plugins say about making room.
	PostFilter string
}

func (e *GangError) Error() string {
	msg := fmt.Sprintf("minCount (%d) cannot be satisfied: %d scheduled, %d remaining", e.MinCount, e.Scheduled, e.Remaining)
	if e.PostFilter != "" {
		msg += ", " + e.PostFilter
	}
	return msg
}

// setMembers notes how many pods a group has, with and without a node.
func (b *Builder) setMembers(group string, n int) {
	if n == 0 {
		b.s.members.remove(b.e, group)
		return
	}
	b.s.members.put(b.e, group, n)
}
