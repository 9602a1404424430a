package webhook

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

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Resolver finds where a port of a Service is served, as HOST:PORT. It may look things up by the request.
type Resolver func(ctx context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error)

// EndpointOf is a Resolver: one of the ready endpoints of the Service, as kube-apiserver with
// --enable-aggregator-routing finds it. It needs no service proxy where the API server runs.
func EndpointOf(_ context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error) {
	svc, p, err := service(r, namespace, name, port)
	if err != nil {
		return "", err
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return "", fmt.Errorf("unsupported service type %q", svc.Spec.Type)
	}
	all, err := r.List(client.Ref{GroupVersionResource: discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), Namespace: namespace})
	if err != nil {
		return "", err
	}
	var first, other []string
	for _, obj := range all {
		slice, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok || slice.Labels[discoveryv1.LabelServiceName] != name {
			continue
		}
		if len(svc.Spec.IPFamilies) > 0 && string(slice.AddressType) == string(svc.Spec.IPFamilies[0]) {
			first = append(first, readyIn(slice, p.Name)...)
		} else {
			other = append(other, readyIn(slice, p.Name)...)
		}
	}
	if len(first) == 0 {
		first = other
	}
	if len(first) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	return first[rand.IntN(len(first))], nil
}

// ClusterIPOf is a Resolver: the Service's own address, as kube-apiserver finds it by default. It needs a service proxy
// where the API server runs.
func ClusterIPOf(_ context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error) {
	svc, p, err := service(r, namespace, name, port)
	switch {
	case err != nil:
		return "", err
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(port))), nil
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return "", fmt.Errorf("cannot route to service with ClusterIP %q", svc.Spec.ClusterIP)
	}
	return net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(int(p.Port))), nil
}

// service looks a Service and its port up; one that is another's name has no ports.
func service(r *apiserver.AdmissionRequest, namespace, name string, port int32) (*corev1.Service, *corev1.ServicePort, error) {
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("services"), Namespace: namespace, Name: name})
	if err != nil {
		return nil, nil, err
	}
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil, nil, apierrors.NewNotFound(corev1.Resource("service"), name)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return svc, nil, nil
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if i < 0 {
		return nil, nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, name))
	}
	return svc, &svc.Spec.Ports[i], nil
}

// readyIn returns the endpoints of a slice that take requests at a port.
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
