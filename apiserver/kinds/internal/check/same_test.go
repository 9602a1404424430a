package check

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
)

func spec(change func(*corev1.PodSpec)) *corev1.PodSpec {
	s := &corev1.PodSpec{
		NodeSelector: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"},
		Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}}}},
	}
	if change != nil {
		change(s)
	}
	return s
}

// TestSameMessage holds what SameMessage says to what reflection does.
func TestSameMessage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.PodSpec)
		same   bool
	}{
		"nothing":      {nil, true},
		"empty slices": {func(s *corev1.PodSpec) { s.Volumes, s.Tolerations = []corev1.Volume{}, []corev1.Toleration{} }, true},
		"a field":      {func(s *corev1.PodSpec) { s.NodeName = "n" }, false},
		"as long":      {func(s *corev1.PodSpec) { s.Containers[0].Image = "j" }, false},
		"false, told":  {func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = new(bool) }, false},
		"in a map":     {func(s *corev1.PodSpec) { s.NodeSelector["d"] = "5" }, false},
		"a quantity":   {func(s *corev1.PodSpec) { s.Containers[0].Resources.Requests["cpu"] = resource.MustParse("2") }, false},
	} {
		a, b := spec(nil), spec(c.change)
		if got := SameMessage(a, b); got != c.same || got && !equality.Semantic.DeepEqual(a, b) {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func BenchmarkSameMessage(b *testing.B) {
	x, y := spec(nil), spec(nil)
	b.Run("protobuf", func(b *testing.B) {
		for b.Loop() {
			if !SameMessage(x, y) {
				b.Fatal("not the same")
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		for b.Loop() {
			if !equality.Semantic.DeepEqual(x, y) {
				b.Fatal("not the same")
			}
		}
	})
}
