package podgc

import (
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestStories: "surplus threshold=N" with lines "name age [evicted] [condemned]" of pods that have
// ended prints those to delete, in order; "unattended" with lines "name [terminating] [condemned]
// [bound] [ready] [out-of-service]" prints which pods no kubelet will finish.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if td.Cmd == "unattended" {
				return unattended(td.Input)
			}
			var threshold int
			td.ScanArgs(t, "threshold", &threshold)
			var ended []*corev1.Pod
			for line := range strings.Lines(td.Input) {
				words := strings.Fields(line)
				age, err := time.ParseDuration(words[1])
				if err != nil {
					t.Fatal(err)
				}
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: words[0], CreationTimestamp: metav1.NewTime(noon.Add(-age))}}
				p.Status.Phase = corev1.PodFailed
				mark(p, strings.Join(words[2:], " "))
				ended = append(ended, p)
			}
			return names(Surplus(ended, threshold))
		})
	})
}

func mark(p *corev1.Pod, words string) {
	zero := int64(0)
	if strings.Contains(words, "evicted") {
		p.Status.Reason = "Evicted"
	}
	if strings.Contains(words, "bound") {
		p.Spec.NodeName = "a"
	}
	if strings.Contains(words, "terminating") {
		p.DeletionTimestamp = &metav1.Time{Time: noon}
	}
	if strings.Contains(words, "condemned") {
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds, p.Status.Phase = &metav1.Time{Time: noon}, &zero, corev1.PodFailed
	}
}

func names(pods []*corev1.Pod) string {
	if len(pods) == 0 {
		return "none\n"
	}
	var b strings.Builder
	for _, p := range pods {
		b.WriteString(p.Name + "\n")
	}
	return b.String()
}

func unattended(input string) string {
	var out []*corev1.Pod
	for line := range strings.Lines(input) {
		name, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		mark(p, words)
		var node *corev1.Node
		if p.Spec.NodeName != "" {
			node = &corev1.Node{}
			if strings.Contains(words, "out-of-service") {
				node.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}}
			}
			if strings.Contains(words, "ready") {
				node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			}
		}
		if Unattended(p, node) {
			out = append(out, p)
		}
	}
	return names(out)
}

// TestSurplusLeavesTheThreshold: of pods that nobody deletes yet, exactly the threshold is left.
func TestSurplusLeavesTheThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ended []*corev1.Pod
		for i := range rapid.IntRange(0, 20).Draw(t, "pods") {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}}
			p.Status.Phase = corev1.PodSucceeded
			p.CreationTimestamp = metav1.NewTime(noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Second))
			ended = append(ended, p)
		}
		threshold := rapid.IntRange(1, 10).Draw(t, "threshold")
		left := len(ended) - len(Surplus(ended, threshold))
		if left != min(len(ended), threshold) {
			t.Fatalf("%d of %d are left", left, len(ended))
		}
	})
}
