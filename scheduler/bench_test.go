package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func benchNodes(n int) []*corev1.Node {
	var out []*corev1.Node
	for i := range n {
		node := &corev1.Node{}
		node.Name = fmt.Sprintf("node-%d", i)
		node.Labels = map[string]string{
			corev1.LabelHostname: node.Name, corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3),
			corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", corev1.LabelTopologyRegion: "here",
		}
		node.Status.Allocatable = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("64Gi"),
			corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		}
		out = append(out, node)
	}
	return out
}

func benchPod(i int) *corev1.Pod {
	p := &corev1.Pod{}
	p.Namespace, p.Name = "default", fmt.Sprintf("pod-%d", i)
	p.Labels = map[string]string{"app": fmt.Sprintf("app-%d", i%10)}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "nginx", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")}}}}
	return p
}

// BenchmarkSchedule places pods one after the other, each counted in for the next; an iteration is one
// pod: preparing it, choosing a node and making the next snapshot.
func BenchmarkSchedule(b *testing.B) {
	same := func(p *corev1.Pod) *metav1.LabelSelector { return &metav1.LabelSelector{MatchLabels: p.Labels} }
	workloads := []struct {
		name   string
		change func(*corev1.Pod)
	}{
		{"basic", func(*corev1.Pod) {}},
		{"spread", func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 5, TopologyKey: corev1.LabelTopologyZone,
				WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: same(p)}}
		}},
		{"affinity", func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{TopologyKey: corev1.LabelTopologyZone, LabelSelector: same(p)}}}}
		}},
		{"refused", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"no": "such"} }},
	}
	for _, w := range workloads {
		for _, n := range []int{1000, 5000} {
			b.Run(fmt.Sprintf("%s/nodes=%d", w.name, n), func(b *testing.B) {
				p := mustProfile(b, ProfileConfig{})
				empty := NewSnapshot(benchNodes(n), nil)
				random := rand.New(rand.NewPCG(1, 2))
				s := empty
				pods := make([]*corev1.Pod, 10000)
				for i := range pods {
					pods[i] = benchPod(i)
					w.change(pods[i])
				}
				b.ReportAllocs()
				report := cpuTime(b)
				i := 0
				for b.Loop() {
					pod := pods[i%len(pods)]
					info := NewPodInfo(pod)
					if a, err := p.Place(s, info, random); err == nil {
						e := s.Edit()
						e.AddPod(info, a.Node)
						s = e.Snapshot()
					}
					if i++; i%10000 == 0 {
						s = empty
					}
				}
				report()
			})
		}
	}
}

// BenchmarkWhatIf is the cost of a changed copy of a snapshot of 5,000 nodes.
func BenchmarkWhatIf(b *testing.B) {
	s := NewSnapshot(benchNodes(5000), nil)
	pod := NewPodInfo(benchPod(0))
	node := benchNodes(5001)[5000]
	b.Run("add-pod", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e := s.Edit()
			e.AddPod(pod, "node-2500")
			e.Snapshot()
		}
	})
	b.Run("add-node", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.AddNode(node)
		}
	})
	b.Run("remove-node", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.RemoveNode("node-2500")
		}
	})
}

// cpuTime starts a clock of the processor time. The function returned reports it per iteration.
func cpuTime(b *testing.B) (report func()) {
	from := ProcessorTime()
	return func() { b.ReportMetric(float64(ProcessorTime()-from)/float64(b.N), "cpu-ns/op") }
}
