package deployment

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pgregory.net/rapid"
)

// TestRollingUpdateKeepsItsBounds lets a deployment live at random: steps at any moment, pods that
// come and fail, changes of the spec in the middle of a rollout. No step takes away an available
// pod that is needed, none exceeds the surge, and when all is well in the end, so is the
// deployment.
func TestRollingUpdateKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := testDeployment("web")
		n := rapid.Int32Range(0, 12).Draw(t, "replicas")
		d.Spec.Replicas = &n
		surge, unavailable := drawBound(t, "surge"), drawBound(t, "unavailable")
		d.Spec.Strategy.RollingUpdate.MaxSurge, d.Spec.Strategy.RollingUpdate.MaxUnavailable = &surge, &unavailable
		s := newSim(d)
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			switch rapid.SampledFrom([]string{"step", "step", "step", "pods", "pods", "image", "scale", "pause"}).Draw(t, "what") {
			case "step":
				checkedStep(t, s)
			case "pods":
				s.runPods(func(x *simSet) int32 { return rapid.Int32Range(0, x.pods).Draw(t, "available") })
			case "image":
				s.change(func(spec *appsv1.DeploymentSpec) {
					spec.Template = *spec.Template.DeepCopy()
					spec.Template.Spec.Containers[0].Image = fmt.Sprint("v", rapid.IntRange(1, 4).Draw(t, "version"))
				})
			case "scale":
				s.change(func(spec *appsv1.DeploymentSpec) {
					n := rapid.Int32Range(0, 12).Draw(t, "replicas")
					spec.Replicas = &n
				})
			case "pause":
				s.change(func(spec *appsv1.DeploymentSpec) { spec.Paused = !spec.Paused })
			}
		}
		s.change(func(spec *appsv1.DeploymentSpec) { spec.Paused = false })
		for n := 0; ; n++ {
			stepped := checkedStep(t, s)
			if !s.runPods(func(x *simSet) int32 { return x.pods }) && !stepped {
				break
			}
			if n > 100 {
				t.Fatalf("never settles:\n%s", s.show())
			}
		}
		if !complete(s.d, &s.d.Status) {
			t.Fatalf("settled, but not complete:\n%s", s.show())
		}
		if c := (&conditions{list: s.d.Status.Conditions}).get(appsv1.DeploymentProgressing); c.Reason != reasonAvailable {
			t.Fatalf("complete, but does not say so:\n%s", s.show())
		}
	})
}

func drawBound(t *rapid.T, label string) intstr.IntOrString {
	if rapid.Bool().Draw(t, label+" in percent") {
		return intstr.FromString(fmt.Sprintf("%d%%", rapid.IntRange(0, 100).Draw(t, label)))
	}
	return intstr.FromInt32(rapid.Int32Range(0, 4).Draw(t, label))
}

// checkedStep does one step and checks what it did to the pods.
func checkedStep(t *rapid.T, s *sim) bool {
	kept := func() (available, total int32) {
		for _, x := range s.sets {
			// A set that shrinks gives up first what is not available.
			available += min(x.available, replicasOf(x.rs))
			total += replicasOf(x.rs)
		}
		return available, total
	}
	scaling := (&planner{d: s.d, old: s.state().Sets}).mustScale()
	availableBefore, totalBefore := kept()
	changed := s.step()
	available, total := kept()
	surge, unavailable := bounds(s.d)
	if limit := max(totalBefore, desiredOf(s.d)+surge); total > limit {
		t.Fatalf("%d pods asked for, %d allowed:\n%s", total, limit, s.show())
	}
	if least := min(availableBefore, desiredOf(s.d)-unavailable); !scaling && available < least {
		t.Fatalf("%d pods stay available of %d, at least %d must:\n%s", available, availableBefore, least, s.show())
	}
	return changed
}
