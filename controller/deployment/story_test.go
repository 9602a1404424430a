package deployment

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cockroachdb/datadriven"
)

// TestStories tells lives of deployments. Commands:
//
//	create name= image= replicas= [surge= unavailable= recreate history= deadline= paused]
//	set [image=] [replicas=] [paused=] [surge=] [unavailable=]
//	settle [broken=image]   steps and pods, until nothing changes; pods of a broken image never
//	                        become available
//	step                    one step, no pods
//	pods [broken=image]     the pods follow, no step
//	wait for=duration       time passes, then as settle
//	show
//
// Each prints the events, then for settle, wait and show the state.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *sim
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			return tell(t, &s, td)
		})
	})
}

func tell(t *testing.T, s **sim, td *datadriven.TestData) string {
	broken := ""
	td.MaybeScanArgs(t, "broken", &broken)
	ready := func(x *simSet) int32 {
		if broken != "" && x.rs.Spec.Template.Spec.Containers[0].Image == broken {
			return 0
		}
		return x.pods
	}
	switch td.Cmd {
	case "create":
		*s = newSim(parse(t, td))
		return ""
	case "set":
		(*s).change(func(spec *appsv1.DeploymentSpec) { apply(t, td, spec) })
		return ""
	case "step":
		(*s).step()
		return (*s).events()
	case "pods":
		(*s).runPods(ready)
		return ""
	case "wait":
		d, err := time.ParseDuration(arg(td, "for"))
		if err != nil {
			t.Fatal(err)
		}
		(*s).now = (*s).now.Add(d)
	case "settle", "show":
	default:
		td.Fatalf(t, "unknown command %q", td.Cmd)
	}
	for n := 0; td.Cmd != "show"; n++ {
		stepped := (*s).step()
		if !(*s).runPods(ready) && !stepped {
			break
		}
		if n > 200 {
			t.Fatalf("never settles:\n%s", (*s).show())
		}
	}
	return (*s).events() + (*s).show()
}

func (s *sim) events() string {
	var b strings.Builder
	for _, line := range s.log {
		b.WriteString(line + "\n")
	}
	s.log = nil
	return b.String()
}

func arg(td *datadriven.TestData, name string) string {
	for _, a := range td.CmdArgs {
		if a.Key == name {
			if len(a.Vals) == 0 {
				return "true"
			}
			return a.Vals[0]
		}
	}
	return ""
}

func parse(t *testing.T, td *datadriven.TestData) *appsv1.Deployment {
	d := testDeployment(arg(td, "name"))
	apply(t, td, &d.Spec)
	return d
}

// testDeployment returns a deployment as the API defaults it.
func testDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	one, ten, deadline := int32(1), int32(10), int32(600)
	quarter := intstr.FromString("25%")
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "d"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, RevisionHistoryLimit: &ten, ProgressDeadlineSeconds: &deadline,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &quarter, MaxUnavailable: &quarter},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}},
			},
		},
	}
}

func apply(t *testing.T, td *datadriven.TestData, spec *appsv1.DeploymentSpec) {
	for _, a := range td.CmdArgs {
		value := arg(td, a.Key)
		number := func() *int32 {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%s: %v", a.Key, err)
			}
			v := int32(n)
			return &v
		}
		bound := func(p **intstr.IntOrString) {
			v := intstr.Parse(value)
			*p = &v
		}
		switch a.Key {
		case "name":
		case "image":
			spec.Template = *spec.Template.DeepCopy()
			spec.Template.Spec.Containers[0].Image = value
		case "replicas":
			spec.Replicas = number()
		case "history":
			spec.RevisionHistoryLimit = number()
		case "deadline":
			spec.ProgressDeadlineSeconds = number()
		case "paused":
			spec.Paused = value == "true"
		case "surge":
			bound(&spec.Strategy.RollingUpdate.MaxSurge)
		case "unavailable":
			bound(&spec.Strategy.RollingUpdate.MaxUnavailable)
		case "recreate":
			spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		default:
			t.Fatal(fmt.Errorf("unknown argument %q", a.Key))
		}
	}
}
