package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

// TestMain lets the test binary be the program.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCheapNodesFirst runs the program against an API server, with the rights of a scheduler.
func TestCheapNodesFirst(t *testing.T) {
	api := apitest.Open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, price := range map[string]string{"dear": "90", "cheap": "10", "middle": "50"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"example.com/price": price}}}
		node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")}
		_, err := client.For[*corev1.Node](api.Admin()).Create(ctx, node)
		check(t, err)
	}
	cmd := exec.Command(os.Args[0], api.Serve(t, "system:kube-scheduler"))
	cmd.Env = append(os.Environ(), "BE_THE_PROGRAM=yes")
	var output bytes.Buffer
	cmd.Stderr = &output
	check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || !bytes.HasSuffix(output.Bytes(), []byte("ended: <nil>\n")) {
			t.Errorf("the program ended with %v and said:\n%s", err, &output)
		}
	}()
	for _, want := range []string{"cheap", "cheap", "middle", "middle", "dear"} {
		if got := place(t, ctx, api.Admin()); got != want {
			t.Errorf("a pod went to %s, want %s", got, want)
		}
	}
}

// place makes a pod and returns the node that it gets.
func place(t *testing.T, ctx context.Context, c client.Interface) string {
	t.Helper()
	pods := client.For[*corev1.Pod](c)
	pod, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "pod-"},
		Spec: corev1.PodSpec{SchedulerName: "cheap-scheduler", Containers: []corev1.Container{{Name: "c", Image: "nginx"}}}})
	check(t, err)
	w, err := pods.Watch(ctx, "default", metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	check(t, err)
	defer w.Stop()
	for e := range w.ResultChan() {
		if p, ok := e.Object.(*corev1.Pod); ok && p.Spec.NodeName != "" {
			return p.Spec.NodeName
		}
	}
	t.Fatal("the pod got no node")
	return ""
}

// TestSize: a plugin is less than 40 lines, the program around it included.
func TestSize(t *testing.T) {
	text, err := os.ReadFile("main.go")
	check(t, err)
	if n := bytes.Count(text, []byte("\n")); n >= 40 {
		t.Errorf("main.go has %d lines", n)
	}
}
