package builtin_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
)

// quota refuses pods while it is on, as a ResourceQuota does.
type quota struct {
	client.Interface
	on    atomic.Bool
	asked atomic.Int32
}

func (q *quota) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	if ref.Resource == "pods" && q.on.Load() {
		q.asked.Add(1)
		return nil, apierrors.NewForbidden(ref.GroupResource(), "web", errors.New("exceeded quota: pods"))
	}
	return q.Interface.Create(ctx, ref, obj, o)
}

// TestRefusedPodsAreReported: the set says why it has no pods, in events and conditions, the
// deployment repeats it, and both recover when pods are accepted again.
func TestRefusedPodsAreReported(t *testing.T) {
	q := &quota{}
	q.on.Store(true)
	w := newWorld(t, func(c client.Interface) client.Interface { q.Interface = c; return q })
	w.create(deploymentOf("web", 50, "v1"))
	failure := func() string {
		d, err := client.For[*appsv1.Deployment](w.c).Get(w.ctx, "default", "web")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure {
				return string(c.Status) + " " + c.Reason + ": " + c.Message
			}
		}
		return ""
	}
	eventually[*appsv1.Deployment](w, "a deployment that tells of the failure", func() bool {
		return failure() == `True FailedCreate: pods "web" is forbidden: exceeded quota: pods`
	})
	eventually[*corev1.Event](w, "an event", func() bool {
		for _, e := range list[*corev1.Event](w, "default") {
			if e.Type == corev1.EventTypeWarning && e.Reason == "FailedCreate" && strings.HasPrefix(e.Message, "Error creating: pods") {
				return true
			}
		}
		return false
	})
	if n := q.asked.Load(); n > 20 {
		t.Errorf("asked for pods %d times while they are refused", n)
	}
	q.on.Store(false)
	w.complete("web", 50)
	eventually[*appsv1.Deployment](w, "no failure any more", func() bool { return failure() == "" })
}
