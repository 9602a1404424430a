package kubelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAdmit(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a", corev1.LabelOSStable: "linux"}}}
	node.Spec.Taints = []corev1.Taint{{Key: "down", Effect: corev1.TaintEffectNoExecute}, {Key: "soft", Effect: corev1.TaintEffectNoSchedule}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourcePods: resource.MustParse("2")}
	const tolerant = "tolerations: [{operator: Exists}]\n"
	half := simPod(t, tolerant+"containers: [{name: a, image: x, resources: {requests: {cpu: 1, memory: 512Mi}}}]")
	for spec, want := range map[string]string{
		tolerant + "containers: [{name: a, image: x}]":                                                        "",
		tolerant + "containers: [{name: a, image: x, resources: {requests: {cpu: 1}}}]":                       "",
		tolerant + "containers: [{name: a, image: x, resources: {requests: {cpu: 1001m}}}]":                   "OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 1001, used: 1000, capacity: 2000",
		tolerant + "containers: [{name: a, image: x, resources: {requests: {memory: 1Gi}}}]":                  "OutOfmemory: Pod was rejected: Node didn't have enough resource: memory, requested: 1073741824, used: 536870912, capacity: 1073741824",
		tolerant + "nodeSelector: {zone: b}\ncontainers: [{name: a, image: x}]":                               "NodeAffinity: Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
		"containers: [{name: a, image: x}]":                                                                   "TaintToleration: Pod was rejected: Predicate TaintToleration failed: node(s) had untolerated taint(s)",
		"tolerations: [{key: down, operator: Exists, effect: NoSchedule}]\ncontainers: [{name: a, image: x}]": "TaintToleration: Pod was rejected: Predicate TaintToleration failed: node(s) had untolerated taint(s)",
	} {
		got := ""
		if r := admit(node, []*corev1.Pod{half}, simPod(t, spec)); r != nil {
			got = r.Reason + ": " + r.Message
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", spec, got, want)
		}
	}
	if r := admit(node, []*corev1.Pod{half, half}, simPod(t, tolerant)); r == nil || r.Reason != "OutOfpods" {
		t.Errorf("a third pod: %+v", r)
	}
}
