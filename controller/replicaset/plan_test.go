package replicaset

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestStories: "decide replicas=N [minready=N] [deleting]" with lines of pods
//
//	name [phase] [ready[=since]] [age=x] [node=x] [cost=n] [restarts=n] [terminating] [other] [labels]
//
// prints what to do, in order, and the status. A pod that is "other" belongs to a sibling set;
// "unlabeled" lacks the template's labels.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s := State{Set: &appsv1.ReplicaSet{}, Now: noon}
			s.Set.Generation = 7
			s.Set.Spec.Template.Labels = map[string]string{"app": "web"}
			var n int
			td.ScanArgs(t, "replicas", &n)
			replicas := int32(n)
			s.Set.Spec.Replicas = &replicas
			if td.MaybeScanArgs(t, "minready", &n) {
				s.Set.Spec.MinReadySeconds = int32(n)
			}
			if td.HasArg("deleting") {
				s.Set.DeletionTimestamp = &metav1.Time{Time: noon}
			}
			for line := range strings.Lines(td.Input) {
				p, other := parsePod(t, line)
				s.Related = append(s.Related, p)
				if !other {
					s.Pods = append(s.Pods, p)
				}
			}
			return describe(s)
		})
	})
}

func describe(s State) string {
	var b strings.Builder
	plan := Decide(s)
	if plan.Create > 0 {
		fmt.Fprintf(&b, "create %d\n", plan.Create)
	}
	for _, p := range plan.Delete {
		fmt.Fprintf(&b, "delete %s\n", p.Name)
	}
	st, next := Status(s)
	fmt.Fprintf(&b, "status: %d replicas, %d labeled, %d ready, %d available, %d terminating",
		st.Replicas, st.FullyLabeledReplicas, st.ReadyReplicas, st.AvailableReplicas, *st.TerminatingReplicas)
	if next > 0 {
		fmt.Fprintf(&b, "; look again in %s", next)
	}
	return b.String() + "\n"
}

func parsePod(t *testing.T, line string) (p *corev1.Pod, other bool) {
	words := strings.Fields(line)
	p = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: words[0], UID: types.UID(words[0]), Labels: map[string]string{"app": "web"},
		CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)), Annotations: map[string]string{},
	}}
	p.Spec.NodeName = "n-" + words[0]
	p.Status.Phase = corev1.PodRunning
	ago := func(value string) metav1.Time {
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return metav1.NewTime(noon.Add(-d))
	}
	for _, word := range words[1:] {
		name, value, has := strings.Cut(word, "=")
		switch name {
		case "Pending", "Running", "Succeeded", "Failed", "Unknown":
			p.Status.Phase = corev1.PodPhase(name)
		case "ready":
			c := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}
			if has {
				c.LastTransitionTime = ago(value)
			}
			p.Status.Conditions = append(p.Status.Conditions, c)
		case "age":
			p.CreationTimestamp = ago(value)
		case "node":
			p.Spec.NodeName = value
		case "cost":
			p.Annotations[corev1.PodDeletionCost] = value
		case "restarts":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: int32(n)}}
		case "terminating":
			p.DeletionTimestamp = &metav1.Time{Time: noon}
		case "unlabeled":
			p.Labels = nil
		case "other":
			other = true
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return p, other
}

// TestOneStepIsEnough decides for random pods: after the plan the number of pods that count is the
// one asked for, and no pod that is finished or terminating is deleted.
func TestOneStepIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int32Range(0, 8).Draw(t, "replicas")
		s := State{Set: &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Replicas: &n}}, Now: noon}
		words := []string{"", "ready", "ready=3s", "Pending", "Failed", "Succeeded", "terminating", "restarts=3", "cost=5", "node="}
		for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
			p, _ := parsePod(nil, fmt.Sprintf("p%d %s %s", i, rapid.SampledFrom(words).Draw(t, "a"), rapid.SampledFrom(words).Draw(t, "b")))
			s.Pods = append(s.Pods, p)
		}
		s.Related = s.Pods
		plan := Decide(s)
		gone := map[types.UID]bool{}
		for _, p := range plan.Delete {
			if !isActive(p) || gone[p.UID] {
				t.Fatalf("deletes %s, which does not count, or twice", p.Name)
			}
			gone[p.UID] = true
		}
		left := plan.Create
		for _, p := range s.Pods {
			if isActive(p) && !gone[p.UID] {
				left++
			}
		}
		if left != int(n) {
			t.Fatalf("%d pods are left, %d were asked for", left, n)
		}
	})
}
