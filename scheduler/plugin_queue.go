package scheduler

// PrioritySort puts pods of higher priority first and, of the same priority, those that have waited
// longer since they were queued. It is what a profile without a QueueSortPlugin gets.
type PrioritySort struct{}

// Name implements Plugin.
func (PrioritySort) Name() string { return NamePrioritySort }

// Less implements QueueSortPlugin.
func (PrioritySort) Less(a, b *QueuedPod) bool {
	if a.Pod.Priority != b.Pod.Priority {
		return a.Pod.Priority > b.Pod.Priority
	}
	return a.Since.Before(b.Since)
}

// SchedulingGates keeps pods out of the queue while they have scheduling gates. The API server binds
// no such pod, so every profile has this plugin.
// https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/
type SchedulingGates struct{}

var refuseGates = NewStatus(UnschedulableAndUnresolvable, "waiting for scheduling gates")

// Name implements Plugin.
func (SchedulingGates) Name() string { return NameSchedulingGates }

// PreEnqueue implements PreEnqueuePlugin.
func (SchedulingGates) PreEnqueue(_ *Snapshot, pod *PodInfo) *Status {
	if len(pod.Pod.Spec.SchedulingGates) > 0 {
		return refuseGates
	}
	return nil
}

// Helps implements EventHinter: only a change of the pod itself can help.
func (SchedulingGates) Helps(*PodInfo, *Event) bool { return false }
