package replicaset

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Burst is the most pods that one step creates or deletes.
const Burst = 500

// State is what a ReplicaSet's next step depends on.
type State struct {
	Set *appsv1.ReplicaSet
	// Pods are the set's own pods, finished and terminating ones included.
	Pods []*corev1.Pod
	// Related are the pods of all sets with the same controller, its own included: of the pods
	// on one node, those that have more company are deleted first.
	Related []*corev1.Pod
	Now     time.Time
}

// Plan is the next step.
type Plan struct {
	// Create is how many pods to create.
	Create int
	// Delete are the pods to delete, the least worth keeping first.
	Delete []*corev1.Pod
}

// Decide returns what brings the number of pods closer to spec.replicas. Pods that are finished or
// terminating do not count.
func Decide(s State) Plan {
	if s.Set.DeletionTimestamp != nil {
		return Plan{}
	}
	active := slices.DeleteFunc(slices.Clone(s.Pods), func(p *corev1.Pod) bool { return !isActive(p) })
	diff := len(active) - int(replicas(s.Set))
	if diff <= 0 {
		return Plan{Create: min(-diff, Burst)}
	}
	rank(active, s.Related, s.Now)
	return Plan{Delete: active[:min(diff, Burst)]}
}

// replicas is spec.replicas, whose default is 1.
func replicas(rs *appsv1.ReplicaSet) int32 {
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

func isActive(p *corev1.Pod) bool { return !isFinished(p) && p.DeletionTimestamp == nil }

func isFinished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// readySince returns when the pod became ready, and false when it is not.
func readySince(p *corev1.Pod) (time.Time, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// untilAvailable returns how long a pod must stay ready to count as available: 0 when it does, and
// false when it is not ready.
func untilAvailable(p *corev1.Pod, minReadySeconds int32, now time.Time) (time.Duration, bool) {
	since, ready := readySince(p)
	if !ready {
		return 0, false
	}
	if minReadySeconds == 0 {
		return 0, true
	}
	if since.IsZero() {
		return time.Duration(minReadySeconds) * time.Second, true
	}
	return max(0, since.Add(time.Duration(minReadySeconds)*time.Second).Sub(now)), true
}

// Status returns the set's status, and after how long it will change by the passing of time alone;
// 0 is never. Conditions stay as they are.
func Status(s State) (appsv1.ReplicaSetStatus, time.Duration) {
	status := appsv1.ReplicaSetStatus{ObservedGeneration: s.Set.Generation, Conditions: s.Set.Status.Conditions}
	template := labels.Set(s.Set.Spec.Template.Labels).AsSelectorPreValidated()
	var next time.Duration
	var terminating int32
	for _, p := range s.Pods {
		if isFinished(p) {
			continue
		}
		if p.DeletionTimestamp != nil {
			terminating++
			continue
		}
		status.Replicas++
		if template.Matches(labels.Set(p.Labels)) {
			status.FullyLabeledReplicas++
		}
		wait, ready := untilAvailable(p, s.Set.Spec.MinReadySeconds, s.Now)
		if !ready {
			continue
		}
		status.ReadyReplicas++
		if wait == 0 {
			status.AvailableReplicas++
		} else if next == 0 || wait < next {
			next = wait
		}
	}
	status.TerminatingReplicas = &terminating
	return status, next
}

// rank sorts pods so that those to delete first come first, by the rules of the ReplicaSet
// documentation: unassigned, pending, not ready, cheap by the pod-deletion-cost annotation, in
// company on their node, ready for a short time, often restarted, young.
func rank(pods, related []*corev1.Pod, now time.Time) {
	company := map[string]int{}
	for _, p := range related {
		if isActive(p) && p.Spec.NodeName != "" {
			company[p.Spec.NodeName]++
		}
	}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		aSince, aReady := readySince(a)
		bSince, bReady := readySince(b)
		byReadyTime := 0
		if aReady && bReady {
			byReadyTime = cmp.Compare(ageClass(aSince, now), ageClass(bSince, now))
		}
		return cmp.Or(
			compareBool(a.Spec.NodeName != "", b.Spec.NodeName != ""),
			cmp.Compare(phaseRank(a), phaseRank(b)),
			compareBool(aReady, bReady),
			cmp.Compare(deletionCost(a), deletionCost(b)),
			cmp.Compare(company[b.Spec.NodeName], company[a.Spec.NodeName]),
			byReadyTime,
			cmp.Compare(restarts(b), restarts(a)),
			cmp.Compare(ageClass(a.CreationTimestamp.Time, now), ageClass(b.CreationTimestamp.Time, now)),
			cmp.Compare(a.UID, b.UID),
		)
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodRunning:
		return 2
	case corev1.PodUnknown:
		return 1
	}
	return 0
}

func deletionCost(p *corev1.Pod) int64 {
	n, err := strconv.ParseInt(p.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return n
}

func restarts(p *corev1.Pod) int32 {
	var most int32
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		most = max(most, c.RestartCount)
	}
	return most
}

// ageClass is the order of magnitude of an age: pods of about the same age count as equals, so that
// scaling down does not undo exactly the last scaling up (KEP-2185).
func ageClass(t, now time.Time) int {
	if t.IsZero() {
		return -1
	}
	return int(math.Log2(max(1, float64(now.Sub(t)))))
}
