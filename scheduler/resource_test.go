package scheduler

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

var someAmounts = rapid.SampledFrom([]string{"0", "1", "1m", "0.5m", "250m", "1.5", "128Mi", "1e3", "1000m", "1Ti", "8Ei", "16Ei", "-1", "300n"})

func drawList(t *rapid.T, odd bool) corev1.ResourceList {
	names := []corev1.ResourceName{"cpu", "memory", "ephemeral-storage"}
	if odd {
		names = append(names, "example.com/gpu", "hugepages-2Mi", "unknown")
	}
	list := corev1.ResourceList{}
	for range rapid.IntRange(0, 3).Draw(t, "resources") {
		list[rapid.SampledFrom(names).Draw(t, "name")] = resource.MustParse(someAmounts.Draw(t, "amount"))
	}
	return list
}

// drawRequests makes pods some of which are the usual kind, and running pods in the middle of a resize.
func drawRequests(t *rapid.T) *corev1.Pod {
	p := &corev1.Pod{}
	odd := rapid.IntRange(0, 3).Draw(t, "odd") == 0
	for _, name := range []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "containers")] {
		c := corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: drawList(t, odd)}}
		p.Spec.Containers = append(p.Spec.Containers, c)
		st := corev1.ContainerStatus{Name: name}
		switch rapid.IntRange(0, 5).Draw(t, "status") {
		case 0:
			st.AllocatedResources = drawList(t, odd)
		case 1:
			st.Resources = &corev1.ResourceRequirements{Requests: drawList(t, odd)}
		case 2:
			st.AllocatedResources, st.Resources = c.Resources.Requests, &corev1.ResourceRequirements{Requests: c.Resources.Requests}
		case 3:
			st.Resources = &corev1.ResourceRequirements{}
		case 4:
			continue
		}
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, st)
	}
	if rapid.Bool().Draw(t, "bound") {
		p.Spec.NodeName = "node"
	}
	if rapid.IntRange(0, 5).Draw(t, "infeasible") == 0 {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizePending, Reason: corev1.PodReasonInfeasible}}
	}
	if rapid.IntRange(0, 9).Draw(t, "init") == 0 {
		p.Spec.InitContainers = []corev1.Container{{Name: "init", Resources: corev1.ResourceRequirements{Requests: drawList(t, odd)}}}
	}
	if rapid.IntRange(0, 9).Draw(t, "overhead") == 0 {
		p.Spec.Overhead = drawList(t, odd)
	}
	if rapid.IntRange(0, 9).Draw(t, "pod level") == 0 {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: drawList(t, odd)}
	}
	return p
}

// TestPlainRequests: the short way to the requests of usual pods leads to the same.
func TestPlainRequests(t *testing.T) {
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		pod := drawRequests(t)
		got, ok := plainRequests(pod)
		if !ok {
			return
		}
		short++
		if want := anyRequests(pod); !reflect.DeepEqual(got, want) {
			t.Fatalf("the short way gives %+v, the long way %+v", got, want)
		}
	})
	if short == 0 {
		t.Error("no pod went the short way")
	}
}
