package crd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// EndpointOf returns what URLCaller.Service can be: one of the ready endpoints of a Service, looked up with the client
// that as returns. It needs no service proxy where the API server runs.
func EndpointOf(as func() client.Interface) func(ctx context.Context, namespace, name string, port int32) (string, error) {
	return func(ctx context.Context, namespace, name string, port int32) (string, error) {
		c := as()
		svc, err := client.For[*corev1.Service](c).Get(ctx, namespace, name)
		if err != nil {
			return "", err
		}
		at := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
		if at < 0 {
			return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, name))
		}
		list, err := client.For[*discoveryv1.EndpointSlice](c).List(ctx, namespace, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
		if err != nil {
			return "", err
		}
		var found []string
		for _, s := range list.Items {
			found = append(found, ready(s, svc.Spec.Ports[at].Name)...)
		}
		if len(found) == 0 {
			return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
		}
		return found[rand.IntN(len(found))], nil
	}
}

// ready returns the endpoints of a slice that take requests at a port.
func ready(s *discoveryv1.EndpointSlice, port string) []string {
	var out []string
	for _, p := range s.Ports {
		if p.Port == nil || p.Name == nil || *p.Name != port {
			continue
		}
		for _, e := range s.Endpoints {
			if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}
