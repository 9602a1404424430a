package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
)

// asProgram is set for the program itself.
const asProgram = "INBOARD_TEST_EMBED"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestReadme keeps the README's program the one that compiles here.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```") {
		t.Error("README.md does not show examples/embed/main.go as it is")
	}
}

// start runs the program until the test ends, and returns the path of its kubeconfig.
func start(t *testing.T) string {
	t.Helper()
	program := exec.Command(os.Args[0])
	program.Dir, program.Env, program.Stderr = t.TempDir(), append(os.Environ(), asProgram+"=1"), os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		if err := program.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := program.Wait(); err != nil {
			t.Errorf("after an interrupt: %v", err)
		}
	})
	if readErr != nil || !strings.Contains(line, "embed.kubeconfig") {
		t.Fatalf("said %q: %v", line, readErr)
	}
	return filepath.Join(program.Dir, "embed.kubeconfig")
}

// TestPlaces: its scheduler places pods on nodes that are made by hand.
func TestPlaces(t *testing.T) {
	c, err := rest.New(rest.Config{Kubeconfig: start(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("10")}
	create(ctx, t, c, node)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	pod.Spec.Containers = []corev1.Container{{Name: "web", Image: "web"}}
	create(ctx, t, c, pod)
	for pod.Spec.NodeName != "node" {
		last := pod.Status.Conditions
		if pod, err = client.For[*corev1.Pod](c).Get(ctx, "default", "web"); err != nil {
			t.Fatalf("the pod was not placed: %v, %+v", err, last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func create[T client.Object](ctx context.Context, t *testing.T, c client.Interface, obj T) {
	t.Helper()
	if _, err := client.For[T](c).Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
}
