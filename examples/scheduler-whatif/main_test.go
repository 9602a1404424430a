package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

var update = flag.Bool("update", false, "write the output that the stories expect")

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"scheduler-whatif": main})
}

// leakChecked is a test run at whose end nothing may be left running.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	return code
}

// TestStories runs the program as people do.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", UpdateScripts: *update})
}

// TestKubeconfig asks about a cluster behind HTTPS, with the rights of a scheduler.
func TestKubeconfig(t *testing.T) {
	api := apitest.Open(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourcePods: resource.MustParse("10")}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c", Image: "web", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}}}}}
	if _, err := client.For[*corev1.Node](api.Admin()).Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if _, err := client.For[*corev1.Pod](api.Admin()).Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	kubeconfig := api.Serve(t, "system:kube-scheduler")
	var out, stderr strings.Builder
	fits, err := run(t.Context(), []string{"-kubeconfig", kubeconfig}, nil, &out, &stderr)
	if err != nil || !fits {
		t.Fatalf("fits is %v, the error %v", fits, err)
	}
	want := kubeconfig + `: 1 node, 0 pods on them, 1 waiting
waiting pods: 1 of 1 fit
  default/web -> node-a
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	t.Log(stderr.String())
}
