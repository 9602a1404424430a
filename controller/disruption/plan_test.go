package disruption

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestStories: "status [min=N|N%] [max=N|N%] [scale=N]" with lines "pod [ready] [terminating] [evicted=AGE]
// [absent]" prints what becomes of the budget.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			pdb := &policyv1.PodDisruptionBudget{}
			pdb.Generation = 7
			var minimum, maximum string
			var scale int
			td.MaybeScanArgs(t, "min", &minimum)
			td.MaybeScanArgs(t, "max", &maximum)
			td.MaybeScanArgs(t, "scale", &scale)
			pdb.Spec.MinAvailable, pdb.Spec.MaxUnavailable = amount(minimum), amount(maximum)
			var pods []*corev1.Pod
			for line := range strings.Lines(td.Input) {
				if p := podOf(t, pdb, strings.Fields(line)); p != nil {
					pods = append(pods, p)
				}
			}
			plan, err := Compute(pdb, pods, int32(scale), noon)
			if err != nil {
				return fmt.Sprintf("error: %v\n", err)
			}
			return show(plan)
		})
	})
}

func amount(s string) *intstr.IntOrString {
	if s == "" {
		return nil
	}
	v := intstr.Parse(s)
	return &v
}

func podOf(t *testing.T, pdb *policyv1.PodDisruptionBudget, words []string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: words[0]}}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "ready":
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		case "terminating":
			p.DeletionTimestamp = &metav1.Time{Time: noon}
		case "evicted":
			age, err := time.ParseDuration(value)
			if err != nil {
				t.Fatal(err)
			}
			if pdb.Status.DisruptedPods == nil {
				pdb.Status.DisruptedPods = map[string]metav1.Time{}
			}
			pdb.Status.DisruptedPods[p.Name] = metav1.NewTime(noon.Add(-age))
		case "absent":
			return nil
		default:
			t.Fatalf("what is %q?", word)
		}
	}
	return p
}

func show(p Plan) string {
	var b strings.Builder
	s := p.Status
	fmt.Fprintf(&b, "healthy %d of %d, %d wanted, %d may go\n", s.CurrentHealthy, s.ExpectedPods, s.DesiredHealthy, s.DisruptionsAllowed)
	if len(s.DisruptedPods) > 0 || p.After != 0 {
		fmt.Fprintf(&b, "%s is awaited for %s\n", strings.Join(slices.Sorted(maps.Keys(s.DisruptedPods)), ", "), p.After)
	}
	for _, pod := range p.Overdue {
		fmt.Fprintf(&b, "%s is overdue\n", pod.Name)
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "%s %s %s\n", c.Type, c.Status, c.Reason)
		if c.ObservedGeneration != 7 || s.ObservedGeneration != 7 || !c.LastTransitionTime.Time.Equal(noon) {
			fmt.Fprintf(&b, "generation %d, %d at %s\n", s.ObservedGeneration, c.ObservedGeneration, c.LastTransitionTime)
		}
	}
	return b.String()
}

// TestNeverTooMany: whatever the budget, evicting as many pods as it allows leaves as many healthy ones as it wants;
// and what was computed is up to date the next time, and is not after a failure.
func TestNeverTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pdb := &policyv1.PodDisruptionBudget{}
		v := intstr.FromInt32(rapid.Int32Range(0, 8).Draw(t, "number"))
		if rapid.Bool().Draw(t, "percent") {
			v = intstr.FromString(fmt.Sprintf("%d%%", rapid.IntRange(0, 100).Draw(t, "%")))
		}
		pdb.Spec.MinAvailable = &v
		if rapid.Bool().Draw(t, "max") {
			pdb.Spec.MinAvailable, pdb.Spec.MaxUnavailable = nil, &v
		}
		pdb.Status.DisruptedPods = map[string]metav1.Time{}
		var pods []*corev1.Pod
		for i := range rapid.IntRange(0, 8).Draw(t, "pods") {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}
			if rapid.Bool().Draw(t, "ready") {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			}
			if rapid.Bool().Draw(t, "evicted") {
				pdb.Status.DisruptedPods[p.Name] = metav1.NewTime(noon.Add(-time.Duration(rapid.IntRange(0, 240).Draw(t, "age")) * time.Second))
			}
			pods = append(pods, p)
		}
		plan, err := Compute(pdb, pods, rapid.Int32Range(0, 8).Draw(t, "scale"), noon)
		if err != nil {
			t.Fatal(err)
		}
		s := plan.Status
		if s.DisruptionsAllowed < 0 || s.DisruptionsAllowed > 0 && s.CurrentHealthy-s.DisruptionsAllowed < s.DesiredHealthy || s.ExpectedPods == 0 && s.DisruptionsAllowed > 0 {
			t.Fatalf("status %+v", s)
		}
		if (plan.After > 0) != (len(s.DisruptedPods) > 0) {
			t.Fatalf("looks again after %s, with %d evictions under way", plan.After, len(s.DisruptedPods))
		}
		pdb.Status = s
		if !UpToDate(pdb, &s) {
			t.Fatal("not up to date")
		}
		pdb.Status = Failed(pdb, "why", noon)
		if UpToDate(pdb, &s) || pdb.Status.DisruptionsAllowed != 0 {
			t.Fatalf("after a failure %+v", pdb.Status)
		}
	})
}
