package scheduler

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// FuzzSchedule feeds pods and nodes that no API server has validated: the answer is a node that exists or
// an error, never a panic of a built-in plugin, and the node's sums hold.
func FuzzSchedule(f *testing.F) {
	node := `{"metadata":{"name":"n","labels":{"zone":"a"}},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]},"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"10","example.com/gpu":"1"},"images":[{"names":["nginx:latest"],"sizeBytes":900000000}]}}`
	for _, pod := range []string{
		`{"metadata":{"name":"p"},"spec":{"containers":[{"image":"nginx","resources":{"requests":{"cpu":"1"}}}]}}`,
		`{"metadata":{"name":"p","namespace":"x","labels":{"a":"b"}},"spec":{"tolerations":[{"operator":"Gt","key":"k","value":"x"}],"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{"matchLabels":{"a":"b"}},"matchLabelKeys":["a"]}],"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":-9223372036854775808}]}},"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","minDomains":-1,"whenUnsatisfiable":"DoNotSchedule"}]}}`,
		`{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}]},"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":-5,"preference":{"matchExpressions":[{"key":"zone","operator":"Gt","values":["x"]}]}}]}}}}`,
		`{"spec":{"containers":[{"resources":{"requests":{"cpu":"-1","memory":"9223372036854775807","example.com/gpu":"9e18","hugepages-2Mi":"1"}}}],"overhead":{"cpu":"1e30"}}}`,
	} {
		f.Add(node, pod, pod)
	}
	p := mustProfile(f, ProfileConfig{})
	f.Fuzz(func(t *testing.T, nodeText, podText, otherText string) {
		var n corev1.Node
		var pod, other corev1.Pod
		if json.Unmarshal([]byte(nodeText), &n) != nil || json.Unmarshal([]byte(podText), &pod) != nil || json.Unmarshal([]byte(otherText), &other) != nil {
			return
		}
		n.Name, other.Name = "n", "other"
		second := n.DeepCopy()
		second.Name = "m"
		s := NewSnapshot([]*corev1.Node{&n, second}, nil).AddPod(&other, "n")
		a, err := p.Schedule(s, &pod, nil)
		var failure *PluginError
		if errors.As(err, &failure) && strings.Contains(failure.Error(), "panic") {
			t.Fatal(err)
		}
		if err == nil && s.Node(a.Node) == nil {
			t.Fatalf("the node %q does not exist", a.Node)
		}
		if err != nil && err.Error() == "" {
			t.Fatal("an error without text")
		}
	})
}
