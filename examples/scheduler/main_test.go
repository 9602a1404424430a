package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPodsAreBoundOverHTTPS runs the program with no more rights than Kubernetes gives a scheduler.
func TestPodsAreBoundOverHTTPS(t *testing.T) {
	api := apitest.Open(t)
	c, kubeconfig := api.Admin(), api.Serve(t, "system:kube-scheduler")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(runCtx, kubeconfig, "mine", true, true) }()

	pods := client.For[*corev1.Pod](c)
	_, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.PodSpec{SchedulerName: "mine", Containers: []corev1.Container{{Name: "c", Image: "nginx"}}}})
	check(t, err)
	waitFor(t, ctx, c, func(p *corev1.Pod) bool {
		return len(p.Status.Conditions) == 1 && p.Status.Conditions[0].Message == "no nodes available to schedule pods"
	})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("10")}
	nodes := client.For[*corev1.Node](c)
	_, err = nodes.Create(ctx, node)
	check(t, err)
	waitFor(t, ctx, c, func(p *corev1.Pod) bool { return p.Spec.NodeName == "node-a" })
	waitForEvent(t, ctx, c, "Scheduled: Successfully assigned default/web to node-a")
	stop()
	check(t, <-done)
}

func waitForEvent(t *testing.T, ctx context.Context, c client.Interface, want string) {
	t.Helper()
	w, err := client.For[*corev1.Event](c).Watch(ctx, "default", metav1.ListOptions{})
	check(t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, is := ev.Object.(*corev1.Event); is && e.Reason+": "+e.Message == want {
			return
		}
	}
	t.Fatalf("there was no event %q", want)
}

func waitFor(t *testing.T, ctx context.Context, c client.Interface, ok func(*corev1.Pod) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := client.For[*corev1.Pod](c).Watch(ctx, "default", metav1.ListOptions{})
	check(t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if p, is := ev.Object.(*corev1.Pod); is && ok(p) {
			return
		}
	}
	t.Fatal("the pod did not get there")
}

func TestMissingKubeconfigIsNamed(t *testing.T) {
	if err := run(context.Background(), "/no/such/kubeconfig", "default-scheduler", false, false); err == nil || !strings.Contains(err.Error(), "/no/such/kubeconfig") {
		t.Errorf("error is %v", err)
	}
}
