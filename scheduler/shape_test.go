package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

// TestWhatIsRememberedHolds places pods of a few shapes on a cluster that changes, and on older states of it,
// with a profile that remembers and with one that has nothing to remember.
func TestWhatIsRememberedHolds(t *testing.T) {
	fresh := func() *Profile { return mustProfile(t, ProfileConfig{}) }
	rapid.Check(t, func(t *rapid.T) {
		old := fresh()
		var pods []*corev1.Pod
		for i := range rapid.IntRange(1, 3).Draw(t, "shapes") {
			pods = append(pods, drawPod(t, fmt.Sprint("shape-", i)))
		}
		b := emptySnapshot.Edit()
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			b.SetNode(drawNode(t, fmt.Sprintf("node-%d", i)))
		}
		states := []*Snapshot{b.Snapshot()}
		for i := range rapid.IntRange(1, 30).Draw(t, "placements") {
			s := states[rapid.IntRange(max(0, len(states)-3), len(states)-1).Draw(t, "state")]
			pod := rapid.SampledFrom(pods).Draw(t, "pod").DeepCopy()
			pod.Name = fmt.Sprint("pod-", i)
			seed := rapid.Uint64().Draw(t, "seed")
			got, gotErr := old.Schedule(s, pod, rand.New(rand.NewPCG(seed, 0)))
			want, wantErr := fresh().Schedule(s, pod, rand.New(rand.NewPCG(seed, 0)))
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("%s: with memory %v %v, without %v %v", pod.Name, got, gotErr, want, wantErr)
			}
			b := s.Edit()
			if gotErr == nil {
				b.AddPod(NewPodInfo(pod), got.Node)
			}
			if rapid.IntRange(0, 3).Draw(t, "changes?") == 0 {
				changeOnce(t, b)
			}
			if next := b.Snapshot(); next.Len() > 0 {
				states = append(states, next)
			}
		}
	})
}

// TestMemoryIsBounded: shapes, and different refusals of one, are forgotten or not kept.
func TestMemoryIsBounded(t *testing.T) {
	x := &scratch{}
	for i := range 3 * mostShapes {
		o := x.remembered(fmt.Sprint(i), 1, 10)
		for j := range 2 * mostRefusals {
			o.note(&NodeInfo{version: versions.Add(1), place: j % 10}, 0, nodeRefusal{fmt.Sprint(j), refuseTaint})
		}
		if len(o.refusals) > mostRefusals {
			t.Fatalf("%d refusals are kept", len(o.refusals))
		}
	}
	if len(x.shapes) != mostShapes {
		t.Fatalf("%d shapes are kept", len(x.shapes))
	}
	o := x.remembered("new", 1, 10)
	for i := range o.nodes {
		if o.nodes[i] != (opinion{}) {
			t.Fatalf("a new shape begins with the opinion %v", o.nodes[i])
		}
	}
	if x.remembered("new", 1, 12) != o || x.remembered("new", 2, 12) == o {
		t.Error("opinions are found by shape and filters")
	}
}

// TestShapes: what a plugin that goes by shapes reads makes another shape.
func TestShapes(t *testing.T) {
	base := func() *corev1.Pod { return benchPod(0) }
	seen := map[string]string{}
	for name, change := range map[string]func(*corev1.Pod){
		"plain":        func(*corev1.Pod) {},
		"cpu":          func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = asking("200m", "128Mi") },
		"memory":       func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = asking("100m", "129Mi") },
		"no requests":  func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = nil },
		"two without":  func(p *corev1.Pod) { p.Spec.Containers = make([]corev1.Container, 2) },
		"node":         func(p *corev1.Pod) { p.Spec.NodeName = "n" },
		"port":         func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}} },
		"toleration":   func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a"}} },
		"tolerates b":  func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "b"}} },
		"two":          func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a"}, {Key: "b"}} },
		"value":        func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a", Value: "b"}} },
		"selector":     func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b"} },
		"selector c":   func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "c"} },
		"affinity":     func(p *corev1.Pod) { p.Spec.Affinity = needs("a", "b") },
		"affinity c":   func(p *corev1.Pod) { p.Spec.Affinity = needs("a", "c") },
		"affinity b c": func(p *corev1.Pod) { p.Spec.Affinity = needs("a", "b", "c") },
	} {
		p := base()
		change(p)
		shape := NewPodInfo(p).shape
		if other, ok := seen[shape]; ok {
			t.Errorf("%q and %q are of one shape", name, other)
		}
		seen[shape] = name
	}
	other := base()
	other.Name, other.Labels = "other", nil
	if _, ok := seen[NewPodInfo(other).shape]; !ok {
		t.Error("name and labels make another shape")
	}
}

func asking(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func needs(key string, values ...string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}}}}}
}
