package podgc

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Surplus returns the pods, of those that have ended, that are more than threshold: evicted ones
// first, then the oldest. None is being deleted already.
func Surplus(ended []*corev1.Pod, threshold int) []*corev1.Pod {
	n := len(ended) - threshold
	if n <= 0 {
		return nil
	}
	ended = slices.Clone(ended)
	slices.SortFunc(ended, func(a, b *corev1.Pod) int {
		return cmp.Or(
			-compareBool(evicted(a), evicted(b)),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Namespace, b.Namespace),
		)
	})
	return slices.DeleteFunc(ended[:n], condemned)
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

// ended tells whether all of a pod's containers have ended for good.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// evicted tells whether the kubelet ended the pod for want of resources.
func evicted(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed && p.Status.Reason == "Evicted"
}

// condemned tells whether nothing but finalizers holds a pod: to delete it again changes nothing.
func condemned(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0 && ended(p)
}

// Unattended tells whether a pod that is being deleted has no kubelet to finish it: it was never
// bound, or its node, nil when unknown, is not ready and declared out of service.
func Unattended(p *corev1.Pod, node *corev1.Node) bool {
	if p.DeletionTimestamp == nil || condemned(p) {
		return false
	}
	return p.Spec.NodeName == "" || outOfService(node)
}

func outOfService(node *corev1.Node) bool {
	if node == nil {
		return false
	}
	ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return !ready && slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}
