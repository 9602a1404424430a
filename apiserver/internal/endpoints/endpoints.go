// Package endpoints tells where a port of a Service is served, by what the Service and its EndpointSlices say, as
// kube-apiserver finds it for proxies, webhooks and extension API servers, and in its words. It reads nothing: who calls
// it has the objects.
package endpoints

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Port returns the port of a Service that has a number.
func Port(svc *corev1.Service, number int32) (*corev1.ServicePort, error) {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == number })
	if i < 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, svc.Name))
	}
	return &svc.Spec.Ports[i], nil
}

// ClusterIP returns where the cluster's service proxy serves a port of a Service, as HOST:PORT. A Service that is
// another's name is wherever that is.
func ClusterIP(svc *corev1.Service, number int32) (string, error) {
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(number))), nil
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return "", errors.New(`cannot route to service with ClusterIP "None"`)
	}
	if _, err := Port(svc, number); err != nil {
		return "", err
	}
	return net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(int(number))), nil
}

// One returns one of the ready endpoints of a Service's port, as HOST:PORT. The list is the Service's EndpointSlices.
func One(svc *corev1.Service, number int32, list []*discoveryv1.EndpointSlice) (string, error) {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return "", fmt.Errorf("unsupported service type %q", svc.Spec.Type)
	}
	p, err := Port(svc, number)
	if err != nil {
		return "", err
	}
	family := corev1.IPFamilyUnknown
	if len(svc.Spec.IPFamilies) > 0 {
		family = svc.Spec.IPFamilies[0]
	}
	return OneNamed(svc.Name, p.Name, family, list)
}

// OneNamed returns one of the ready endpoints of a port that has a name, as HOST:PORT, of an address family when there
// are some. The list is the Service's EndpointSlices; of the Service itself only the name is needed.
func OneNamed(service, port string, family corev1.IPFamily, list []*discoveryv1.EndpointSlice) (string, error) {
	found := Ready(port, family, list)
	if len(found) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", service))
	}
	return found[rand.IntN(len(found))], nil
}

// Ready returns where all ready endpoints of a port that has a name are, as HOST:PORT: those of an address family, or all
// others when it has none.
func Ready(port string, family corev1.IPFamily, list []*discoveryv1.EndpointSlice) []string {
	var first, other []string
	for _, slice := range list {
		if string(slice.AddressType) == string(family) {
			first = append(first, readyIn(slice, port)...)
		} else {
			other = append(other, readyIn(slice, port)...)
		}
	}
	if len(first) > 0 {
		return first
	}
	return other
}

func readyIn(slice *discoveryv1.EndpointSlice, port string) []string {
	var out []string
	for _, p := range slice.Ports {
		if p.Name == nil || *p.Name != port || p.Port == nil {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if (e.Conditions.Ready == nil || *e.Conditions.Ready) && len(e.Addresses) > 0 {
				out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}
