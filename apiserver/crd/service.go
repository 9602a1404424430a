package crd

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/endpoints"
)

// EndpointOf returns what Config.Resolve can be: one of the ready endpoints of a Service, looked up with the client
// that as returns. It needs no service proxy where the API server runs.
func EndpointOf(as func() client.Interface) func(ctx context.Context, namespace, name string, port int32) (string, error) {
	return func(ctx context.Context, namespace, name string, port int32) (string, error) {
		c := as()
		svc, err := client.For[*corev1.Service](c).Get(ctx, namespace, name)
		if err != nil {
			return "", err
		}
		list, err := client.For[*discoveryv1.EndpointSlice](c).List(ctx, namespace, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
		if err != nil {
			return "", err
		}
		return endpoints.One(svc, port, list.Items)
	}
}
