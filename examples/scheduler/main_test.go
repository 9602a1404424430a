package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve starts an API server on a loopback port and returns it with a kubeconfig of the user
// system:kube-scheduler.
func serve(t *testing.T) (client.Interface, string) {
	t.Helper()
	st, err := store.Open(store.Config{})
	check(t, err)
	s, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	check(t, err)
	ca, err := pki.New("test")
	check(t, err)
	serving, err := ca.Server("127.0.0.1")
	check(t, err)
	own, err := ca.Client("system:kube-scheduler")
	check(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Run(ctx) }()
	go func() { done <- s.Serve(ctx, ln, ca.ServerTLS(serving)) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
		check(t, <-done)
		check(t, st.Close())
	})
	<-s.Ready()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, pki.Kubeconfig{Server: "https://" + ln.Addr().String(), Authority: ca.CertificatePEM(), Client: own}.Write(path))
	return s.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}), path
}

// TestPodsAreBoundOverHTTPS runs the program with no more rights than Kubernetes gives a scheduler.
func TestPodsAreBoundOverHTTPS(t *testing.T) {
	c, kubeconfig := serve(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(runCtx, kubeconfig, "mine", true) }()

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
	if err := run(context.Background(), "/no/such/kubeconfig", "default-scheduler", false); err == nil || !strings.Contains(err.Error(), "/no/such/kubeconfig") {
		t.Errorf("error is %v", err)
	}
}
