package nodelifecycle

import (
	"fmt"
	"slices"
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

var noon = metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))

// TestStories: "taints [evict|spare] [cordoned]" with lines "condition status" and "taint key:effect"
// prints the taints that the node should have, added ones marked; "silent" with lines of conditions
// prints the conditions of a node that is not heard of any more.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			node := parseNode(t, td.Input)
			node.Spec.Unschedulable = td.HasArg("cordoned")
			if td.Cmd == "silent" {
				return describeConditions(Silent(node, noon))
			}
			eviction := Hold
			if td.HasArg("evict") {
				eviction = Evict
			} else if td.HasArg("spare") {
				eviction = Spare
			}
			return describeTaints(Taints(node, eviction, noon))
		})
	})
}

func parseNode(t *testing.T, input string) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if words[0] == "taint" {
			key, effect, _ := strings.Cut(words[1], ":")
			node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
			continue
		}
		if len(words) != 2 {
			t.Fatalf("not a condition and its status: %q", line)
		}
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{
			Type: corev1.NodeConditionType(words[0]), Status: corev1.ConditionStatus(words[1]), Reason: "KubeletSays"})
	}
	return node
}

func describeTaints(taints []corev1.Taint) string {
	var b strings.Builder
	for _, taint := range taints {
		fmt.Fprintf(&b, "%s:%s", taint.Key, taint.Effect)
		if taint.TimeAdded != nil {
			fmt.Fprintf(&b, " (added at %s)", taint.TimeAdded.UTC().Format(time.TimeOnly))
		}
		b.WriteString("\n")
	}
	if len(taints) == 0 {
		return "none\n"
	}
	return b.String()
}

func describeConditions(conditions []corev1.NodeCondition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "%s %s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

func genNode(t *rapid.T) *corev1.Node {
	node := &corev1.Node{}
	node.Spec.Unschedulable = rapid.Bool().Draw(t, "cordoned")
	for _, c := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable} {
		if status := rapid.SampledFrom([]corev1.ConditionStatus{"", "True", "False", "Unknown"}).Draw(t, string(c)); status != "" {
			node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: c, Status: status})
		}
	}
	keys := []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable, corev1.TaintNodeMemoryPressure, "example.com/mine", "other"}
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule}
	for _, key := range keys {
		for _, effect := range effects {
			if rapid.Bool().Draw(t, key+string(effect)) {
				node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Effect: effect, Value: "v"})
			}
		}
	}
	return node
}

// TestTaintsOfOthersAreSacred: they stay as they are, in order; a second look changes nothing; no taint
// is there twice; and not-ready and unreachable exclude each other.
func TestTaintsOfOthersAreSacred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := genNode(t)
		eviction := rapid.SampledFrom([]Eviction{Hold, Evict, Spare}).Draw(t, "eviction")
		got := Taints(node, eviction, noon)
		others := func(l []corev1.Taint) []corev1.Taint {
			return slices.DeleteFunc(slices.Clone(l), func(t corev1.Taint) bool { return ours(&t) })
		}
		if !slices.Equal(others(got), others(node.Spec.Taints)) {
			t.Fatalf("others' taints were\n%v\nand are\n%v", node.Spec.Taints, got)
		}
		seen := map[string]bool{}
		for _, taint := range got {
			if seen[taint.ToString()] {
				t.Fatalf("twice: %s", taint.ToString())
			}
			seen[taint.ToString()] = true
		}
		for _, effect := range []string{":NoSchedule", ":NoExecute"} {
			if seen[corev1.TaintNodeNotReady+effect] && seen[corev1.TaintNodeUnreachable+effect] {
				t.Fatalf("not ready and unreachable: %v", got)
			}
		}
		node.Spec.Taints = got
		if again := Taints(node, eviction, metav1.NewTime(noon.Add(time.Hour))); !slices.Equal(again, got) {
			t.Fatalf("a second look makes of\n%v\nthis:\n%v", got, again)
		}
		node.Status.Conditions = Silent(node, noon)
		if again := Silent(node, metav1.NewTime(noon.Add(time.Hour))); !slices.Equal(again, node.Status.Conditions) {
			t.Fatalf("conditions change again: %v", again)
		}
	})
}
