package endpointslice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service, its pods and its slices.
type world struct {
	State
	made int
}

// TestStories: "service" and "pods" set the world, "sync" computes the slices, carries the plan out
// and prints what it did and what there is. Lines of pods:
//
//	name ip [ready] [terminating] [done] [node=x] [port=name:number] [host=x sub=x]
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := &world{}
		w.Zone = func(node string) string { return map[string]string{"n1": "east"}[node] }
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			switch td.Cmd {
			case "service":
				w.Service = parseService(t, td)
			case "pods":
				w.Pods = nil
				for line := range strings.Lines(td.Input) {
					w.Pods = append(w.Pods, parsePod(t, line))
				}
			case "sync":
				td.MaybeScanArgs(t, "max", &w.Max)
				return w.sync() + w.show()
			default:
				td.Fatalf(t, "unknown command %q", td.Cmd)
			}
			return ""
		})
	})
}

func parseService(t *testing.T, td *datadriven.TestData) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "svc", Labels: map[string]string{"team": "a"}}}
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	for _, a := range td.CmdArgs {
		switch a.Key {
		case "headless":
			svc.Spec.ClusterIP = corev1.ClusterIPNone
		case "publish":
			svc.Spec.PublishNotReadyAddresses = true
		case "dual":
			svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, corev1.IPv6Protocol)
		case "external":
			svc.Spec.Type = corev1.ServiceTypeExternalName
		case "port": // name:number:target
			part := strings.Split(a.Vals[0], ":")
			n, err := strconv.Atoi(part[1])
			if err != nil {
				t.Fatal(err)
			}
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: part[0], Port: int32(n), TargetPort: intstr.Parse(part[2])})
		default:
			t.Fatalf("unknown argument %q", a.Key)
		}
	}
	return svc
}

func parsePod(t *testing.T, line string) *corev1.Pod {
	words := strings.Fields(line)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: words[0]}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	for _, ip := range strings.Split(words[1], ",") {
		if ip != "-" {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
			p.Status.PodIP = p.Status.PodIPs[0].IP
		}
	}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "ready":
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		case "terminating":
			now := metav1.Now()
			p.DeletionTimestamp = &now
		case "done":
			p.Status.Phase = corev1.PodSucceeded
		case "node":
			p.Spec.NodeName = value
		case "host":
			p.Spec.Hostname = value
		case "sub":
			p.Spec.Subdomain = value
		case "port":
			port, number, _ := strings.Cut(value, ":")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: port, ContainerPort: int32(n)})
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return p
}

// sync carries a plan out and tells how many slices it touched.
func (w *world) sync() string {
	p := Compute(w.State)
	for _, s := range p.Create {
		w.made++
		s = s.DeepCopy()
		s.Name = fmt.Sprint("web-", w.made)
		w.Slices = append(w.Slices, s)
	}
	for _, s := range p.Update {
		i := slices.IndexFunc(w.Slices, func(x *discoveryv1.EndpointSlice) bool { return x.Name == s.Name })
		w.Slices[i] = s
	}
	for _, s := range p.Delete {
		w.Slices = slices.DeleteFunc(w.Slices, func(x *discoveryv1.EndpointSlice) bool { return x.Name == s.Name })
	}
	return fmt.Sprintf("%d created, %d updated, %d deleted\n", len(p.Create), len(p.Update), len(p.Delete))
}

func (w *world) show() string {
	var b strings.Builder
	for _, s := range w.Slices {
		fmt.Fprintf(&b, "%s %s", s.Name, s.AddressType)
		for _, p := range s.Ports {
			fmt.Fprintf(&b, " %s:%d/%s", *p.Name, *p.Port, *p.Protocol)
		}
		if _, ok := s.Labels[corev1.IsHeadlessService]; ok {
			b.WriteString(" headless")
		}
		b.WriteString("\n")
		for _, e := range s.Endpoints {
			fmt.Fprintf(&b, "  %s %s", e.TargetRef.Name, strings.Join(e.Addresses, ","))
			for _, c := range []struct {
				name string
				on   *bool
			}{{"ready", e.Conditions.Ready}, {"serving", e.Conditions.Serving}, {"terminating", e.Conditions.Terminating}} {
				if *c.on {
					b.WriteString(" " + c.name)
				}
			}
			fmt.Fprintf(&b, "%s%s%s\n", optional(" node=", e.NodeName), optional(" zone=", e.Zone), optional(" host=", e.Hostname))
		}
	}
	return b.String()
}

func optional(prefix string, s *string) string {
	if s == nil {
		return ""
	}
	return prefix + *s
}

// TestSlicesAlwaysFit changes pods at random. After each sync every pod with an address is in
// exactly one slice, no slice is too full, a second sync changes nothing, and slices whose pods
// stayed as they were are not touched.
func TestSlicesAlwaysFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{}
		w.Max = rapid.IntRange(1, 5).Draw(t, "max")
		w.Service = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "svc"}}
		w.Service.Spec.Ports = []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			w.Pods = nil
			for i := range rapid.IntRange(0, 14).Draw(t, "pods") {
				if rapid.Bool().Draw(t, "there") {
					p := parsePod(nil, fmt.Sprintf("p%d 10.0.0.%d port=http:%d", i, i+1, rapid.IntRange(8080, 8081).Draw(t, "port")))
					w.Pods = append(w.Pods, p)
				}
			}
			w.sync()
			seen := map[string]int{}
			for _, s := range w.Slices {
				if len(s.Endpoints) > w.Max {
					t.Fatalf("a slice holds %d endpoints, at most %d may be:\n%s", len(s.Endpoints), w.Max, w.show())
				}
				for _, e := range s.Endpoints {
					seen[e.TargetRef.Name]++
				}
			}
			for _, p := range w.Pods {
				if seen[p.Name] != 1 {
					t.Fatalf("pod %s is in %d slices:\n%s", p.Name, seen[p.Name], w.show())
				}
			}
			if len(seen) != len(w.Pods) || len(w.Slices) == 0 {
				t.Fatalf("slices for %d of %d pods:\n%s", len(seen), len(w.Pods), w.show())
			}
			if p := Compute(w.State); len(p.Create)+len(p.Update)+len(p.Delete) > 0 {
				t.Fatalf("a second sync changes something:\n%s", w.show())
			}
		}
	})
}
