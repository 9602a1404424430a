package nodelifecycle

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cause is a condition that taints, and the status that it taints with.
type cause struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	key       string
}

// causes are the taints of https://kubernetes.io/docs/reference/labels-annotations-taints/ that come
// from conditions.
var causes = []cause{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
}

// Eviction is what may happen to the NoExecute taints of a node that is not ready.
type Eviction int

const (
	// Hold leaves a node without NoExecute taint without one; one that it has stays, and changes
	// its key with the condition.
	Hold Eviction = iota
	// Evict gives the node the taint.
	Evict
	// Spare takes the taint away: when no node is ready, the fault is more likely on this side.
	Spare
)

// Taints returns the taints that a node should have: its own, with those that follow from its
// conditions and from spec.unschedulable added or taken out. Taints with other keys stay as they are
// and where they are. Now is the timeAdded of what is added.
func Taints(node *corev1.Node, eviction Eviction, now metav1.Time) []corev1.Taint {
	want := append(noSchedule(node), noExecute(node, eviction)...)
	var out []corev1.Taint
	for _, t := range node.Spec.Taints {
		if !ours(&t) || take(&want, &t) {
			out = append(out, t)
		}
	}
	for _, t := range want {
		t.TimeAdded = &now
		out = append(out, t)
	}
	return out
}

// take removes a taint from a list, and tells whether it was there.
func take(list *[]corev1.Taint, t *corev1.Taint) bool {
	before := len(*list)
	*list = slices.DeleteFunc(*list, func(o corev1.Taint) bool { return o.MatchTaint(t) })
	return len(*list) < before
}

// ours tells whether a taint is one that only this controller keeps.
func ours(t *corev1.Taint) bool {
	switch t.Effect {
	case corev1.TaintEffectNoSchedule:
		return t.Key == corev1.TaintNodeUnschedulable || slices.ContainsFunc(causes, func(c cause) bool { return c.key == t.Key })
	case corev1.TaintEffectNoExecute:
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	}
	return false
}

func noSchedule(node *corev1.Node) []corev1.Taint {
	var out []corev1.Taint
	for _, c := range causes {
		if statusOf(node, c.condition) == c.status {
			out = append(out, corev1.Taint{Key: c.key, Effect: corev1.TaintEffectNoSchedule})
		}
	}
	if node.Spec.Unschedulable {
		out = append(out, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	return out
}

func noExecute(node *corev1.Node, eviction Eviction) []corev1.Taint {
	var key string
	switch statusOf(node, corev1.NodeReady) {
	case corev1.ConditionFalse:
		key = corev1.TaintNodeNotReady
	case corev1.ConditionUnknown:
		key = corev1.TaintNodeUnreachable
	default:
		return nil
	}
	if eviction == Spare || eviction == Hold && !evicting(node) {
		return nil
	}
	return []corev1.Taint{{Key: key, Effect: corev1.TaintEffectNoExecute}}
}

// evicting tells whether a node has a NoExecute taint of this controller.
func evicting(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoExecute && ours(&t)
	})
}

// conditionOf returns a condition, nil when the node has none of the type.
func conditionOf(node *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == t {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// statusOf returns the status of a condition, "" when the node has none of the type.
func statusOf(node *corev1.Node, t corev1.NodeConditionType) corev1.ConditionStatus {
	if c := conditionOf(node, t); c != nil {
		return c.Status
	}
	return ""
}
