package resourcequota_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/resourcequota"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the controller against a new server.
func start(t *testing.T) client.Interface {
	t.Helper()
	c := apitest.Open(t).Admin()
	g, err := resourcequota.New(resourcequota.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

func newQuota(t *testing.T, c client.Interface, hard string, scopes ...corev1.ResourceQuotaScope) {
	t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "default"}}
	q.Spec.Hard, q.Spec.Scopes = corev1.ResourceList{}, scopes
	for _, part := range strings.Fields(hard) {
		name, amount, _ := strings.Cut(part, "=")
		q.Spec.Hard[corev1.ResourceName(name)] = resource.MustParse(amount)
	}
	if _, err := client.For[*corev1.ResourceQuota](c).Create(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

// await waits until the quota's status tells a use.
func await(t *testing.T, c client.Interface, want string) {
	t.Helper()
	var have string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		q, err := client.For[*corev1.ResourceQuota](c).Get(t.Context(), "default", "q")
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(q.Status.Used)) {
			amount := q.Status.Used[name]
			parts = append(parts, fmt.Sprintf("%s=%s", name, amount.String()))
		}
		if have = strings.Join(parts, " "); have == want {
			return
		}
	}
	t.Fatalf("used is %q, want %q", have, want)
}

func pod(name, cpu string) *corev1.Pod {
	c := corev1.Container{Name: "c", Image: "i"}
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
}

// What goes or ends is given back, and may be used again.
func TestGivesBack(t *testing.T) {
	c := start(t)
	pods := client.For[*corev1.Pod](c)
	if _, err := pods.Create(t.Context(), pod("early", "100m")); err != nil {
		t.Fatal(err)
	}
	newQuota(t, c, "pods=2 requests.cpu=1 count/pods=5 count/leases.coordination.k8s.io=3")
	await(t, c, "count/leases.coordination.k8s.io=0 count/pods=1 pods=1 requests.cpu=100m")
	second, err := pods.Create(t.Context(), pod("second", "200m"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Create(t.Context(), pod("third", "200m")); !apierrors.IsForbidden(err) {
		t.Errorf("a third pod under a quota of two: %v", err)
	}
	second.Status.Phase = corev1.PodSucceeded
	if _, err := pods.UpdateStatus(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/leases.coordination.k8s.io=0 count/pods=2 pods=1 requests.cpu=100m")
	if err := pods.Delete(t.Context(), "default", "early", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/leases.coordination.k8s.io=0 count/pods=1 pods=0 requests.cpu=0")
	if _, err := pods.Create(t.Context(), pod("third", "1")); err != nil {
		t.Error(err)
	}
}

// However pods come and go at once, there are never more than the quota has, and its count is right in the end.
func TestCountStaysRight(t *testing.T) {
	const limit = 5
	c := start(t)
	newQuota(t, c, fmt.Sprintf("pods=%d", limit))
	await(t, c, "pods=0")
	pods := client.For[*corev1.Pod](c)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 60 {
				name := fmt.Sprintf("p%d", r.IntN(12))
				var err error
				if r.IntN(2) == 0 {
					_, err = pods.Create(t.Context(), pod(name, "1m"))
				} else {
					err = pods.Delete(t.Context(), "default", name, metav1.DeleteOptions{})
				}
				if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
					t.Error(err)
				}
				list, err := pods.List(t.Context(), "default", metav1.ListOptions{})
				if err != nil || len(list.Items) > limit {
					t.Errorf("%d pods, %v", len(list.Items), err)
				}
			}
		})
	}
	wg.Wait()
	list, err := pods.List(t.Context(), "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, fmt.Sprintf("pods=%d", len(list.Items)))
}

// TestReplicaSetGone: a ReplicaSet or ReplicationController that goes is given back at once, not only when all is counted anew.
func TestReplicaSetGone(t *testing.T) {
	c := start(t)
	newQuota(t, c, "count/replicasets.apps=1 replicationcontrollers=1")
	await(t, c, "count/replicasets.apps=0 replicationcontrollers=0")
	labels := map[string]string{"a": "b"}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "default"}}
	rs.Spec.Replicas, rs.Spec.Selector = new(int32), &metav1.LabelSelector{MatchLabels: labels}
	rs.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod("p", "1").Spec}
	sets := client.For[*appsv1.ReplicaSet](c)
	if _, err := sets.Create(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/replicasets.apps=1 replicationcontrollers=0")
	if err := sets.Delete(t.Context(), "default", "r", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/replicasets.apps=0 replicationcontrollers=0")
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: "rc", Namespace: "default"}}
	rc.Spec.Replicas, rc.Spec.Selector, rc.Spec.Template = new(int32), labels, &rs.Spec.Template
	controllers, background := client.For[*corev1.ReplicationController](c), metav1.DeletePropagationBackground
	if _, err := controllers.Create(t.Context(), rc); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/replicasets.apps=0 replicationcontrollers=1")
	if err := controllers.Delete(t.Context(), "default", "rc", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	await(t, c, "count/replicasets.apps=0 replicationcontrollers=0")
}
