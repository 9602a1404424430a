package namespace

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func show(conditions []corev1.NamespaceCondition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

func TestConditionsAreInKubesWords(t *testing.T) {
	noon := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	later := metav1.NewTime(noon.Add(time.Minute))
	empty := content{}
	first := empty.conditions([]corev1.NamespaceCondition{{Type: "Other", Status: corev1.ConditionTrue}}, noon)
	const want = `Other=True : 
NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered
NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization
NamespaceContentRemaining=False ContentRemoved: All content successfully removed
NamespaceFinalizersRemaining=False ContentHasNoFinalizers: All content-preserving finalizers finished
`
	if got := show(first); got != want {
		t.Errorf("empty:\n%s\nwant:\n%s", got, want)
	}
	full := content{
		discovery: errors.New("no answer"), deletion: errors.New("forbidden"), failed: 1,
		remaining:  map[string]int{"pods.": 2, "deployments.apps": 1},
		finalizers: map[string]int{"example.com/hold": 1},
	}
	second := full.conditions(first, later)
	const wantFull = `Other=True : 
NamespaceDeletionDiscoveryFailure=True DiscoveryFailed: Discovery failed for some groups, 1 failing: no answer
NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: forbidden
NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances
NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances
`
	if got := show(second); got != wantFull {
		t.Errorf("full:\n%s\nwant:\n%s", got, wantFull)
	}
	if !second[2].LastTransitionTime.Equal(&noon) || !second[1].LastTransitionTime.Equal(&later) {
		t.Error("transition times do not follow the status")
	}
}

func TestPausesDouble(t *testing.T) {
	r := &reconciler{pauses: map[string]time.Duration{}}
	var got []time.Duration
	for range 10 {
		got = append(got, r.pause("a"))
	}
	if want := "[20ms 40ms 80ms 160ms 320ms 640ms 1.28s 2.56s 5s 5s]"; fmt.Sprint(got) != want {
		t.Errorf("pauses %v, want %s", got, want)
	}
	if r.forget("a"); r.pause("a") != pauseMin {
		t.Error("a namespace that was forgotten does not begin anew")
	}
}
