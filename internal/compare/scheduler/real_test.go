package scheduler_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientrest "k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/compare/kube"
	"github.com/inboard/inboard/scheduler"
)

// TestAgainstKubeAPIServer runs the scheduler against a real kube-apiserver, with the rights that
// Kubernetes gives to kube-scheduler and no more.
func TestAgainstKubeAPIServer(t *testing.T) {
	cfg := kube.Start(t)
	admin := connect(t, cfg)
	own := clientrest.CopyConfig(cfg)
	own.Impersonate = clientrest.ImpersonationConfig{UserName: "system:kube-scheduler"}
	s, err := scheduler.New(scheduler.Config{Client: connect(t, own)})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(runCtx) }()
	defer func() {
		stop()
		check(t, <-done)
	}()

	pods, nodes := client.For[*corev1.Pod](admin), client.For[*corev1.Node](admin)
	gated := plainPod("gated")
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/hold"}}
	for _, p := range []*corev1.Pod{plainPod("web"), gated} {
		_, err := pods.Create(ctx, p)
		check(t, err)
	}
	await(t, ctx, admin, "web", func(p *corev1.Pod) bool {
		return condition(p).Reason == "Unschedulable" && condition(p).Message == "no nodes available to schedule pods"
	})
	await(t, ctx, admin, "gated", func(p *corev1.Pod) bool { return condition(p).Reason == "SchedulingGated" })

	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourcePods: resource.MustParse("10")}
	node.Status.Capacity = node.Status.Allocatable
	_, err = nodes.Create(ctx, node)
	check(t, err)
	// kube-apiserver taints a new node until a kubelet says that it is ready.
	const tainted = "0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	await(t, ctx, admin, "web", func(p *corev1.Pod) bool { return condition(p).Message == tainted })
	_, err = nodes.Patch(ctx, "", "node-a", types.MergePatchType, []byte(`{"spec":{"taints":null}}`), "")
	check(t, err)
	await(t, ctx, admin, "web", func(p *corev1.Pod) bool {
		return p.Spec.NodeName == "node-a" && condition(p).Status == corev1.ConditionTrue
	})
	_, err = pods.Patch(ctx, "default", "gated", types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/schedulingGates"}]`), "")
	check(t, err)
	await(t, ctx, admin, "gated", func(p *corev1.Pod) bool { return p.Spec.NodeName == "node-a" })

	w, err := client.For[*corev1.Event](admin).Watch(ctx, "default", metav1.ListOptions{})
	check(t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, ok := ev.Object.(*corev1.Event); ok && e.Message == "Successfully assigned default/web to node-a" && e.Reason == "Scheduled" {
			return
		}
	}
	t.Fatal("there was no Scheduled event")
}

func connect(t *testing.T, cfg *clientrest.Config) client.Interface {
	t.Helper()
	c, err := rest.New(rest.Config{REST: cfg})
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plainPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}}}
}

func condition(p *corev1.Pod) (out corev1.PodCondition) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			out = c
		}
	}
	return out
}

func await(t *testing.T, ctx context.Context, c client.Interface, name string, ok func(*corev1.Pod) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	w, err := client.For[*corev1.Pod](c).Watch(ctx, "default", metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	check(t, err)
	defer w.Stop()
	var last *corev1.Pod
	for ev := range w.ResultChan() {
		if p, is := ev.Object.(*corev1.Pod); is {
			if last = p; ok(p) {
				return
			}
		}
	}
	t.Fatalf("pod %s did not get there; it is at %+v", name, last)
}
