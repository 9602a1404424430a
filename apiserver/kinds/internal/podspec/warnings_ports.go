package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// portWarner warns of ports that several containers have, or one has twice.
type portWarner struct {
	*warner
	numbered map[string][]placedPort
	named    map[string]*field.Path
}

type placedPort struct {
	corev1.ContainerPort
	path *field.Path
}

func newPortWarner(w *warner) *portWarner {
	return &portWarner{w, map[string][]placedPort{}, map[string]*field.Path{}}
}

func (w *portWarner) numbers(ctr *corev1.Container, path *field.Path) {
	for i, p := range ctr.Ports {
		at := path.Child("ports").Index(i)
		if p.HostIP != "" && p.HostPort == 0 {
			w.add(at, "hostIP set without hostPort: %+v", p)
		}
		key := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		for _, other := range w.numbered[key] {
			switch {
			case p.HostIP == other.HostIP && p.HostPort == other.HostPort:
				w.add(at, "duplicate port definition with %s", other.path)
			case p.HostPort == 0 || other.HostPort == 0:
				w.add(at, "overlapping port definition with %s", other.path)
			case p.HostPort == other.HostPort && (p.HostIP == "") != (other.HostIP == ""):
				w.add(at, "dangerously ambiguous port definition with %s", other.path)
			}
		}
		w.numbered[key] = append(w.numbered[key], placedPort{p, at})
	}
}

func (w *portWarner) names(ctr *corev1.Container, path *field.Path) {
	for i, p := range ctr.Ports {
		at := path.Child("ports").Index(i)
		switch other := w.named[p.Name]; {
		case p.Name == "":
		case other != nil:
			w.add(at, "duplicate port name %q with %s, services and probes that select ports by name will use %s", p.Name, other, other)
		default:
			w.named[p.Name] = at
		}
	}
}
