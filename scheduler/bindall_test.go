package scheduler_test

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// TestBindAll places many pods from one snapshot and binds them together, with a client that can do that in one
// commit and with one that can't: pods that fit have nodes, the others say why they have none.
func TestBindAll(t *testing.T) {
	for _, inOneCommit := range []bool{true, false} {
		t.Run(fmt.Sprint("inOneCommit=", inOneCommit), func(t *testing.T) {
			c := newCluster(t)
			b := &batcher{Interface: c.c}
			var api client.Interface = b
			if !inOneCommit {
				api = struct{ client.Interface }{c.c}
			}
			c.addNode("node-1", "1")
			c.addNode("node-2", "1")
			var pods []*corev1.Pod
			for i := range 25 {
				pods = append(pods, c.addPod(newPod(fmt.Sprintf("pod-%d", i), "100m")))
			}
			c.deletePod("pod-3")
			nodes, err := client.For[*corev1.Node](c.c).List(t.Context(), "", metav1.ListOptions{})
			check(t, err)
			profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
			check(t, err)
			outcomes, _ := profile.ScheduleAll(scheduler.NewSnapshot(nodes.Items, nil), pods, nil)
			bound := 0
			for i, err := range scheduler.BindAll(t.Context(), api, outcomes) {
				var fit *scheduler.FitError
				switch {
				case err == nil:
					bound++
					if node := c.waitBound(pods[i].Name); node != outcomes[i].Node {
						t.Errorf("%s is on %q, not on %q", pods[i].Name, node, outcomes[i].Node)
					}
				case i == 3:
					if !apierrors.IsNotFound(err) {
						t.Errorf("the pod that was deleted: %v", err)
					}
				case !errors.As(err, &fit):
					t.Errorf("%s: %v", pods[i].Name, err)
				}
			}
			if bound != 19 {
				t.Errorf("%d pods are bound", bound)
			}
			if inOneCommit && b.largest != 20 {
				t.Errorf("the batch had %d bindings", b.largest)
			}
			if errs := scheduler.BindAll(t.Context(), api, outcomes[:1]); !apierrors.IsConflict(errs[0]) {
				t.Errorf("once more: %v", errs)
			}
		})
	}
}
