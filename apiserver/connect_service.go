package apiserver

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/endpoints"
)

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
		p, err := endpoints.Port(svc, int32(n))
		if err != nil {
			return nil, err
		}
		port = p.Name
	}
	list, err := c.server.endpointSlices(c, name)
	if err != nil {
		return nil, err
	}
	found, err := endpoints.OneNamed(name, port, c.server.serviceFamily(), list)
	if err != nil {
		return nil, err
	}
	host, number, err := net.SplitHostPort(found)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return c.at(scheme, host, number)
}

// endpointSlices returns the EndpointSlices of a Service.
func (s *Server) endpointSlices(c *call, service string) ([]*discoveryv1.EndpointSlice, error) {
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
	var out []*discoveryv1.EndpointSlice
	for _, item := range l.items {
		if slice, ok := item.obj.(*discoveryv1.EndpointSlice); ok {
			out = append(out, slice)
		}
	}
	return out, nil
}
