package scheduler

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestFeaturesHint: a node wakes the pod when it declares what the pod needs, and did not before.
func TestFeaturesHint(t *testing.T) {
	node := func(features ...string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{DeclaredFeatures: features}}
	}
	const feature = "UserNamespacesHostNetworkSupport"
	pod := NewPodInfo(&corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true, HostUsers: new(false)}})
	for name, test := range map[string]struct {
		event Event
		want  bool
	}{
		"a node with it comes":    {Event{Kind: NodeAdded, Node: node(feature)}, true},
		"a node without it comes": {Event{Kind: NodeAdded, Node: node()}, false},
		"a node declares it":      {Event{Kind: NodeUpdated, OldNode: node(), Node: node("A", feature)}, true},
		"a node declares another": {Event{Kind: NodeUpdated, OldNode: node(), Node: node("A")}, false},
		"nothing changes":         {Event{Kind: NodeUpdated, OldNode: node(feature), Node: node(feature)}, false},
		"a pod goes":              {Event{Kind: PodRemoved, Pod: pod}, false},
	} {
		if got := (NodeDeclaredFeatures{}).Helps(pod, &test.event); got != test.want {
			t.Errorf("%s: helps is %v", name, got)
		}
		if !nodeDiffers(node(), node(feature)) {
			t.Error("the loop does not see the change of a declared feature")
		}
	}
}
