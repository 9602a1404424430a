package apiserver

import (
	"math/rand/v2"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// endpoint is a place that serves a port of a Service.
type endpoint struct {
	host string
	port int32
}

// locateService leads to an HTTP server behind a Service: to one of its ready endpoints. Only the number of a port is looked up in
// the Service itself.
func locateService(c *call) (*destination, error) {
	scheme, name, port, err := c.splitName()
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(port, 10, 32); err == nil {
		obj, err := c.find(name)
		if err != nil {
			return nil, err
		}
		svc, ok := obj.(*corev1.Service)
		if !ok {
			return nil, c.rq.noSubresource()
		}
		if port, ok = portName(svc, int32(n)); !ok {
			return nil, apierrors.NewServiceUnavailable("no service port " + strconv.Itoa(int(n)) + " found for service \"" + name + "\"")
		}
	}
	found, err := c.server.endpoints(c, name, port)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, apierrors.NewServiceUnavailable("no endpoints available for service \"" + c.rq.ref.Name + "\"")
	}
	e := found[rand.IntN(len(found))]
	return c.at(scheme, e.host, strconv.Itoa(int(e.port)))
}

func portName(svc *corev1.Service, port int32) (string, bool) {
	for i := range svc.Spec.Ports {
		if svc.Spec.Ports[i].Port == port {
			return svc.Spec.Ports[i].Name, true
		}
	}
	return "", false
}

// endpoints returns the ready endpoints of a Service's port.
func (s *Server) endpoints(c *call, service, port string) ([]endpoint, error) {
	res := s.base.byResource[slicesResource]
	if res == nil {
		return nil, nil
	}
	rq := &request{
		user: systemUser, verb: verbList, res: res, warn: noWarnings,
		ref: client.Ref{GroupVersionResource: slicesResource, Namespace: c.rq.ref.Namespace},
	}
	l, err := s.list(c.r.Context(), rq, &metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, err
	}
	var out []endpoint
	for _, item := range l.items {
		if slice, ok := item.obj.(*discoveryv1.EndpointSlice); ok {
			out = append(out, ready(slice, port)...)
		}
	}
	return out, nil
}

func ready(slice *discoveryv1.EndpointSlice, port string) []endpoint {
	var out []endpoint
	for _, p := range slice.Ports {
		if p.Port == nil || p.Name != nil && *p.Name != port || p.Name == nil && port != "" {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if (e.Conditions.Ready == nil || *e.Conditions.Ready) && len(e.Addresses) > 0 {
				out = append(out, endpoint{e.Addresses[0], *p.Port})
			}
		}
	}
	return out
}
