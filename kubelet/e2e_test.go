package kubelet_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/kubelettest"
	"github.com/inboard/inboard/kubelet/process"
)

const testImage = "registry.test/cell:v1"

// node is a kubelet with the process runtime, against an API server in this process.
type node struct {
	t    testing.TB
	c    client.Interface
	pods client.Typed[*corev1.Pod]
	k    *kubelet.Kubelet
	rt   *process.Runtime
	stop func()
}

func startNode(t testing.TB, c client.Interface, edit func(*kubelet.Config)) *node {
	t.Helper()
	rt, err := process.Open(process.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.ImageStore().Add(context.Background(), testImage, kubelettest.Image(t, nil)); err != nil {
		t.Fatal(err)
	}
	cfg := kubelet.Config{Client: c, Runtime: rt, NodeName: "node-a", Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(logTo{t}, nil))}
	if edit != nil {
		edit(&cfg)
	}
	k, err := kubelet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	n := &node{t: t, c: c, pods: client.For[*corev1.Pod](c), k: k, rt: rt}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the kubelet does not stop")
		}
	}
	t.Cleanup(n.stop)
	select {
	case <-k.Ready():
	case err := <-done:
		t.Fatalf("Run: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("the kubelet is not ready")
	}
	return n
}

type logTo struct{ t testing.TB }

func (l logTo) Write(p []byte) (int, error) { l.t.Logf("%s", p); return len(p), nil }

// pod returns a pod on the node with one container.
func pod(name string, args ...string) *corev1.Pod {
	zero := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{NodeName: "node-a", TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{Name: "main", Image: testImage, Args: args, ImagePullPolicy: corev1.PullIfNotPresent}}},
	}
}

func (n *node) create(p *corev1.Pod) *corev1.Pod {
	n.t.Helper()
	got, err := n.pods.Create(context.Background(), p)
	if err != nil {
		n.t.Fatal(err)
	}
	return got
}

// await waits until the pod is as ok says.
func (n *node) await(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	w, err := n.pods.Watch(ctx, "default", metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		n.t.Fatal(err)
	}
	defer w.Stop()
	if _, err := n.pods.Get(ctx, "default", name); apierrors.IsNotFound(err) && ok(nil) {
		return nil
	}
	var last *corev1.Pod
	for ev := range w.ResultChan() {
		p, isPod := ev.Object.(*corev1.Pod)
		if !isPod {
			continue
		}
		last = p
		if ev.Type == "DELETED" {
			p = nil
		}
		if ok(p) {
			return last
		}
	}
	n.t.Fatalf("pod %s: never %s; last status %s", name, what, describe(last))
	return nil
}

func describe(p *corev1.Pod) string {
	if p == nil {
		return "(none)"
	}
	b, err := yaml.Marshal(p.Status)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func ready(p *corev1.Pod) bool {
	return p != nil && condition(p, corev1.PodReady) == corev1.ConditionTrue
}
func gone(p *corev1.Pod) bool { return p == nil }

func phase(want corev1.PodPhase) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p != nil && p.Status.Phase == want }
}

func condition(p *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

func (n *node) delete(name string) {
	n.t.Helper()
	if err := n.pods.Delete(context.Background(), "default", name, metav1.DeleteOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

func TestPodRunsAndGoes(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	p := pod("web", "serve", "8080")
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}}}
	began := time.Now()
	n.create(p)
	got := n.await("web", "ready", ready)
	t.Logf("ready after %v", time.Since(began))
	if got.Status.Phase != corev1.PodRunning || got.Status.PodIP == "" || got.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("status: %s", describe(got))
	}
	cs := got.Status.ContainerStatuses[0]
	if cs.State.Running == nil || !cs.Ready || cs.Started == nil || !*cs.Started || cs.RestartCount != 0 || cs.ImageID == "" {
		t.Errorf("container status: %+v", cs)
	}
	n.delete("web")
	n.await("web", "gone", gone)
	boxes, err := n.rt.Sandboxes(context.Background())
	if err != nil || len(boxes) != 0 {
		t.Errorf("left: %v, %v", boxes, err)
	}
}

func TestPodCompletes(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	p := pod("job", "exit", "0", "done")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	n.create(p)
	got := n.await("job", "succeeded", phase(corev1.PodSucceeded))
	term := got.Status.ContainerStatuses[0].State.Terminated
	if term == nil || term.Reason != "Completed" || term.ExitCode != 0 {
		t.Errorf("status: %s", describe(got))
	}
	f := pod("fails", "exit", "3")
	f.Spec.RestartPolicy = corev1.RestartPolicyNever
	n.create(f)
	got = n.await("fails", "failed", phase(corev1.PodFailed))
	if term := got.Status.ContainerStatuses[0].State.Terminated; term == nil || term.Reason != "Error" || term.ExitCode != 3 {
		t.Errorf("status: %s", describe(got))
	}
}
