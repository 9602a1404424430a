package webhook

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/endpoints"
)

// Resolver finds where a port of a Service is served, as HOST:PORT. It may look things up by the request.
type Resolver func(ctx context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error)

// EndpointOf is a Resolver: one of the ready endpoints of the Service, as kube-apiserver with
// --enable-aggregator-routing finds it. It needs no service proxy where the API server runs.
func EndpointOf(_ context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error) {
	svc, err := service(r, namespace, name)
	if err != nil {
		return "", err
	}
	all, err := r.List(client.Ref{GroupVersionResource: discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), Namespace: namespace})
	if err != nil {
		return "", err
	}
	var list []*discoveryv1.EndpointSlice
	for _, obj := range all {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok && slice.Labels[discoveryv1.LabelServiceName] == name {
			list = append(list, slice)
		}
	}
	return endpoints.One(svc, port, list)
}

// ClusterIPOf is a Resolver: the Service's own address, as kube-apiserver finds it by default. It needs a service proxy
// where the API server runs.
func ClusterIPOf(_ context.Context, r *apiserver.AdmissionRequest, namespace, name string, port int32) (string, error) {
	svc, err := service(r, namespace, name)
	if err != nil {
		return "", err
	}
	return endpoints.ClusterIP(svc, port)
}

// service looks a Service up.
func service(r *apiserver.AdmissionRequest, namespace, name string) (*corev1.Service, error) {
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("services"), Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("service"), name)
	}
	return svc, nil
}
