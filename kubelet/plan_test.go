package kubelet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestPlan lives the lives of the pods in testdata/plan. Commands:
//
//	pod                       begins with a pod; the input is its spec
//	run [for=D]               carries out what the plan asks for, for a time
//	exit name=N code=C        a container ends
//	fail what=W [reason=R]    makes an action fail from now on; heal what=W ends that
//	slow name=N               a container takes its time to stop
//	delete grace=S            the API is asked to delete the pod
//	lose                      the sandbox dies
//	status                    the status in short
func TestPlan(t *testing.T) {
	datadriven.Walk(t, "testdata/plan", func(t *testing.T, path string) {
		var m *sim
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "pod" {
				m = newSim(simPod(t, d.Input))
				return ""
			}
			m.out.Reset()
			command(t, m, d)
			return m.out.String()
		})
	})
}

func simPod(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &pod.Spec); err != nil {
		t.Fatal(err)
	}
	return pod
}

func command(t *testing.T, m *sim, d *datadriven.TestData) {
	arg := func(name, def string) string {
		for _, a := range d.CmdArgs {
			if a.Key == name && len(a.Vals) > 0 {
				return a.Vals[0]
			}
		}
		return def
	}
	number := func(name string) int {
		var n int
		if _, err := fmt.Sscan(arg(name, "0"), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	what := strings.ReplaceAll(arg("what", ""), "_", " ")
	switch d.Cmd {
	case "run":
		dur, err := time.ParseDuration(arg("for", "0s"))
		if err != nil {
			t.Fatal(err)
		}
		m.until(m.now.Add(dur))
	case "exit":
		m.exit(arg("name", "main"), number("code"))
	case "fail":
		if r := arg("reason", ""); r != "" {
			m.fail[what] = &startError{reason: r, err: errors.New("broken"), pull: r == "ErrImagePull"}
		} else {
			m.fail[what] = errors.New("broken")
		}
	case "heal":
		delete(m.fail, what)
	case "slow":
		m.slow[arg("name", "main")] = true
	case "delete":
		m.remove(int64(number("grace")))
	case "lose":
		m.change(func(sb *Sandbox) { sb.Ready = false })
	case "status":
		m.out.WriteString(m.status())
	default:
		t.Fatalf("no such command: %s", d.Cmd)
	}
}
