package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkPreempt is the search for victims in a cluster that is full of four less important pods on each
// node: the filters, a tenth of the nodes tried out, the nomination, the eviction, and the placement of
// the pod once its room is made.
func BenchmarkPreempt(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			p, random := mustProfile(b, ProfileConfig{}), rand.New(rand.NewPCG(1, 1))
			full := fullCluster(nodes)
			s := full
			i := 0
			for b.Loop() {
				if i%(nodes/2) == 0 {
					s = full
				}
				i++
				pod := priorityPod(fmt.Sprintf("high-%d", i), 100, "3")
				pl, err := p.place(Cycle{Pod: pod, Snapshot: s, Random: random, brief: true}, true) // as the loop does
				room := pl.room
				if room.Nominate == "" {
					b.Fatal(err)
				}
				e := s.Edit()
				e.Nominate(pod, room.Nominate)
				for _, v := range room.Victims {
					e.RemovePod(v.Key, room.Nominate)
				}
				s = e.Snapshot()
				a, _, err := p.PlaceOrPreempt(s, pod, random)
				if err != nil || a.Node != room.Nominate {
					b.Fatalf("placed on %q instead of %q: %v", a.Node, room.Nominate, err)
				}
				e = s.Edit()
				e.Denominate(pod.Key)
				e.AddPod(pod, a.Node)
				s = e.Snapshot()
			}
		})
	}
}

func fullCluster(nodes int) *Snapshot {
	b := emptySnapshot.Edit()
	for i := range nodes {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i)}}
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"),
			corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110")}
		b.SetNode(n)
		for j := range 4 {
			b.AddPod(priorityPod(fmt.Sprintf("low-%d-%d", i, j), 0, "900m"), n.Name)
		}
	}
	return b.Snapshot()
}

func priorityPod(name string, priority int32, cpu string) *PodInfo {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	p.Spec.Priority = &priority
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("500Mi")}}}}
	return NewPodInfo(p)
}
