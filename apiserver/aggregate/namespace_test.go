package aggregate_test

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/namespace"
)

// TestNamespaceWaitsForOtherServers deletes a namespace while another server does not answer: nobody knows what that
// may hold there. Once it answers the namespace goes.
func TestNamespaceWaitsForOtherServers(t *testing.T) {
	w := newWorld(t)
	w.register()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w.other.broken.Store(true)
	ok(w.await(ctx, "v1alpha1.wardle.example.com", "FailedDiscoveryCheck"))
	group := ok(namespace.New(namespace.Config{Client: w.api.Admin(), Resources: controller.Discover(w.api.API.Discovery)}))
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- group.Run(running) }()
	t.Cleanup(func() { stop(); <-done })
	namespaces := client.For[*corev1.Namespace](w.api.Admin())
	ok(namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "going"}}))
	if err := namespaces.Delete(ctx, "", "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = "Discovery failed for some groups, 1 failing: discovery: GET /apis/wardle.example.com/v1alpha1: " +
		"unable to retrieve the complete list of server APIs: wardle.example.com/v1alpha1: stale GroupVersion discovery: wardle.example.com/v1alpha1"
	for {
		ns := ok(namespaces.Get(ctx, "", "going"))
		i := slices.IndexFunc(ns.Status.Conditions, func(c corev1.NamespaceCondition) bool {
			return c.Type == corev1.NamespaceDeletionDiscoveryFailure && c.Status == corev1.ConditionTrue
		})
		if i >= 0 {
			if got := ns.Status.Conditions[i].Message; got != want {
				t.Errorf("the condition says %q, want %q", got, want)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.other.broken.Store(false)
	for {
		_, err := namespaces.Get(ctx, "", "going")
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil {
			t.Fatalf("the namespace stays: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
