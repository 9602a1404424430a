package kubelet

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// admit tells why a pod can't run on a node beside the others, or nil when it can. The API may bind
// a pod that does not fit: a scheduler may be late, or a person may have chosen the node.
func admit(node *corev1.Node, others []*corev1.Pod, pod *corev1.Pod) *rejection {
	if r := fits(node, others, pod); r != nil {
		return r
	}
	ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)
	if err != nil || !ok {
		return reject("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
	}
	for i := range node.Spec.Taints {
		t := &node.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectNoExecute && !tolerates(pod, t) {
			return reject("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)")
		}
	}
	if os, ok := pod.Spec.NodeSelector[corev1.LabelOSStable]; ok && os != node.Labels[corev1.LabelOSStable] {
		return reject("PodOSSelectorNodeLabelDoesNotMatch", "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label")
	}
	return nil
}

func reject(reason, message string) *rejection {
	return &rejection{reason, "Pod was rejected: " + message}
}

func tolerates(pod *corev1.Pod, t *corev1.Taint) bool {
	for i := range pod.Spec.Tolerations {
		o := &pod.Spec.Tolerations[i]
		if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
			continue
		}
		if o.Operator == corev1.TolerationOpExists || o.Value == t.Value && o.Key != "" {
			return true
		}
	}
	return false
}

// fits compares the pod's requests with what the others leave.
func fits(node *corev1.Node, others []*corev1.Pod, pod *corev1.Pod) *rejection {
	have := node.Status.Allocatable
	short := func(name corev1.ResourceName, want, used, capacity int64) *rejection {
		return reject("OutOf"+string(name), fmt.Sprintf(
			"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, want, used, capacity))
	}
	if n, pods := int64(len(others)), have.Pods().Value(); n+1 > pods {
		return short(corev1.ResourcePods, 1, n, pods)
	}
	want := helper.PodRequests(pod, helper.PodResourcesOptions{})
	used := corev1.ResourceList{}
	for _, o := range others {
		for name, q := range helper.PodRequests(o, helper.PodResourcesOptions{}) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for _, name := range sortedResources(want) {
		q := want[name]
		if q.IsZero() {
			continue
		}
		capacity, known := have[name]
		if !known {
			continue // a device that no plugin told of; the scheduler would not have chosen the node
		}
		in := amount(name)
		if in(q)+in(used[name]) > in(capacity) {
			return short(name, in(q), in(used[name]), in(capacity))
		}
	}
	return nil
}

// amount returns how a resource is counted: CPUs in thousandths.
func amount(name corev1.ResourceName) func(resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return func(q resource.Quantity) int64 { return q.MilliValue() }
	}
	return func(q resource.Quantity) int64 { return q.Value() }
}

func sortedResources(l corev1.ResourceList) []corev1.ResourceName {
	m := make(map[string]bool, len(l))
	for n := range l {
		m[string(n)] = true
	}
	out := make([]corev1.ResourceName, 0, len(m))
	for _, n := range sortedKeys(m) {
		out = append(out, corev1.ResourceName(n))
	}
	return out
}
