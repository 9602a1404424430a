package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
)

// NodeName admits only the node that spec.nodeName names, for callers who place such pods.
type NodeName struct{}

var refuseNodeName = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match the requested node name")

// Name implements Plugin.
func (NodeName) Name() string { return NameNodeName }

// PreFilter implements PreFilterPlugin.
func (NodeName) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	return PreFilterResult{Skip: c.Pod.Pod.Spec.NodeName == ""}, nil
}

// Filter implements FilterPlugin.
func (NodeName) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	if n.Node.Name != c.Pod.Pod.Spec.NodeName {
		return refuseNodeName
	}
	return nil
}

// EventsToRegister implements EnqueueExtensions.
func (NodeName) EventsToRegister() []EventKind { return []EventKind{NodeAdded} }

// Helps implements EventHinter: a new node may be the one.
func (NodeName) Helps(pod *PodInfo, e *Event) bool {
	return e.Kind == NodeAdded && e.Node.Name == pod.Pod.Spec.NodeName
}

// NodeUnschedulable keeps pods off cordoned nodes, unless they tolerate the taint
// node.kubernetes.io/unschedulable:NoSchedule.
type NodeUnschedulable struct{}

var refuseUnschedulable = NewStatus(UnschedulableAndUnresolvable, "node(s) were unschedulable")

// Name implements Plugin.
func (NodeUnschedulable) Name() string { return NameNodeUnschedulable }

// Filter implements FilterPlugin.
func (NodeUnschedulable) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	if n.cordoned && !toleratesUnschedulable(c.Pod.Pod) {
		return refuseUnschedulable
	}
	return nil
}

func toleratesUnschedulable(pod *corev1.Pod) bool {
	return tolerates(pod.Spec.Tolerations, &corev1.Taint{
		Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule,
	})
}

// EventsToRegister implements EnqueueExtensions.
func (NodeUnschedulable) EventsToRegister() []EventKind { return []EventKind{NodeAdded, NodeUpdated} }

// Helps implements EventHinter.
func (NodeUnschedulable) Helps(_ *PodInfo, e *Event) bool {
	return e.Kind == NodeAdded || e.Kind == NodeUpdated && e.OldNode.Spec.Unschedulable && !e.Node.Spec.Unschedulable
}

// TaintToleration keeps pods off nodes with a NoSchedule or NoExecute taint that they don't tolerate,
// and prefers nodes with fewer PreferNoSchedule taints that they don't tolerate.
// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
type TaintToleration struct{}

var refuseTaint = NewStatus(UnschedulableAndUnresolvable, "node(s) had untolerated taint(s)")

// Name implements Plugin.
func (TaintToleration) Name() string { return NameTaintToleration }

// Filter implements FilterPlugin.
func (TaintToleration) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	if n.hardTaints && hasUntoleratedTaint(c.Pod.Pod, n.Node) {
		return refuseTaint
	}
	return nil
}

// PreScore implements PreScorePlugin.
func (TaintToleration) PreScore(c *Cycle, nodes []*NodeInfo) (any, bool, error) {
	if c.Snapshot.softTainted == 0 {
		return nil, true, nil
	}
	var able []corev1.Toleration
	for _, t := range c.Pod.Pod.Spec.Tolerations {
		if t.Effect == "" || t.Effect == corev1.TaintEffectPreferNoSchedule {
			able = append(able, t)
		}
	}
	for _, n := range nodes {
		if n.softTaints && untoleratedPreferences(n.Node, able) > 0 {
			return able, false, nil
		}
	}
	// All nodes would get the same score.
	return nil, true, nil
}

// Score implements ScorePlugin.
func (TaintToleration) Score(_ *Cycle, state any, n *NodeInfo) (int64, error) {
	return untoleratedPreferences(n.Node, state.([]corev1.Toleration)), nil
}

func untoleratedPreferences(n *corev1.Node, able []corev1.Toleration) (count int64) {
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(able, t) {
			count++
		}
	}
	return count
}

// NormalizeScores implements ScoreNormalizer.
func (TaintToleration) NormalizeScores(_ *Cycle, _ any, _ []*NodeInfo, scores []int64) error {
	scaleScores(scores, true)
	return nil
}

// EventsToRegister implements EnqueueExtensions.
func (TaintToleration) EventsToRegister() []EventKind { return []EventKind{NodeAdded, NodeUpdated} }

// Helps implements EventHinter.
func (TaintToleration) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return !hasUntoleratedTaint(pod.Pod, e.Node)
	case NodeUpdated:
		return hasUntoleratedTaint(pod.Pod, e.OldNode) && !hasUntoleratedTaint(pod.Pod, e.Node)
	}
	return false
}

func hasUntoleratedTaint(pod *corev1.Pod, n *corev1.Node) bool {
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectNoSchedule && t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		if !tolerates(pod.Spec.Tolerations, t) {
			return true
		}
	}
	return false
}

// tolerates does not compare numbers (operators Lt and Gt), which is alpha and off in Kubernetes 1.37.
func tolerates(tolerations []corev1.Toleration, t *corev1.Taint) bool {
	return quietly(corev1helpers.TolerationsTolerateTaint, tolerations, t)
}

// quietly calls f with the zero logger, which discards: a value that is no number is a mismatch, not
// news. The type of the logger is inferred, so that its package need not be imported.
func quietly[L any](f func(L, []corev1.Toleration, *corev1.Taint, bool) bool, ts []corev1.Toleration, t *corev1.Taint) bool {
	var none L
	return f(none, ts, t, false)
}

// NodeAffinity admits nodes by spec.nodeSelector and required node affinity, and prefers those that
// match preferred node affinity.
// https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
type NodeAffinity struct{}

var (
	refuseNodeAffinity   = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match Pod's node affinity/selector")
	refuseAffinityUnmeet = NewStatus(UnschedulableAndUnresolvable, "pod affinity terms conflict")
)

// Name implements Plugin.
func (NodeAffinity) Name() string { return NameNodeAffinity }

// PreFilter implements PreFilterPlugin. A pod that names its node by a field, as those of a DaemonSet
// do, is not tried on any other.
func (NodeAffinity) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	if c.Pod.nodeAffinity == nil {
		return PreFilterResult{Skip: true}, nil
	}
	names, named := namedNodes(c.Pod.Pod)
	if !named {
		return PreFilterResult{}, nil
	}
	if len(names) == 0 {
		return PreFilterResult{}, refuseAffinityUnmeet
	}
	return PreFilterResult{Nodes: names}, nil
}

// namedNodes returns the names that metadata.name must be one of; false means that some term names none.
func namedNodes(pod *corev1.Pod) ([]string, bool) {
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil, false
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var names []string
	for i := range terms {
		in, named := namedByTerm(&terms[i])
		if !named {
			return nil, false
		}
		names = append(names, in...)
	}
	return names, len(terms) > 0
}

// namedByTerm intersects the term's requirements, all of which must hold.
func namedByTerm(t *corev1.NodeSelectorTerm) (names []string, named bool) {
	for _, r := range t.MatchFields {
		if r.Key != metav1.ObjectNameField || r.Operator != corev1.NodeSelectorOpIn {
			continue
		}
		if !named {
			names, named = append(names, r.Values...), true
			continue
		}
		names = intersect(names, r.Values)
	}
	return names, named
}

func intersect(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	out := a[:0]
	for _, s := range a {
		if in[s] {
			out = append(out, s)
		}
	}
	return out
}

// Filter implements FilterPlugin.
func (NodeAffinity) Filter(c *Cycle, _ any, n *NodeInfo) *Status {
	if !matchesNodeAffinity(c.Pod, n.Node) {
		return refuseNodeAffinity
	}
	return nil
}

// matchesNodeAffinity treats a rule that can't be parsed as one that does not match.
func matchesNodeAffinity(p *PodInfo, n *corev1.Node) bool {
	if p.nodeAffinity == nil {
		return true
	}
	if p.selectorOnly {
		for k, v := range p.Pod.Spec.NodeSelector {
			if have, ok := n.Labels[k]; !ok || have != v {
				return false
			}
		}
		return true
	}
	ok, _ := p.nodeAffinity.Match(n)
	return ok
}

// PreScore implements PreScorePlugin.
func (NodeAffinity) PreScore(c *Cycle, _ []*NodeInfo) (any, bool, error) {
	return nil, c.Pod.preferredNodes == nil, nil
}

// Score implements ScorePlugin.
func (NodeAffinity) Score(c *Cycle, _ any, n *NodeInfo) (int64, error) {
	return c.Pod.preferredNodes.Score(n.Node), nil
}

// NormalizeScores implements ScoreNormalizer.
func (NodeAffinity) NormalizeScores(_ *Cycle, _ any, _ []*NodeInfo, scores []int64) error {
	scaleScores(scores, false)
	return nil
}

// EventsToRegister implements EnqueueExtensions.
func (NodeAffinity) EventsToRegister() []EventKind { return []EventKind{NodeAdded, NodeUpdated} }

// Helps implements EventHinter.
func (NodeAffinity) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return matchesNodeAffinity(pod, e.Node)
	case NodeUpdated:
		return !matchesNodeAffinity(pod, e.OldNode) && matchesNodeAffinity(pod, e.Node)
	}
	return false
}
