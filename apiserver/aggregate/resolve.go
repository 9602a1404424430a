package aggregate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/store"
)

// reader reads what the cluster says about a Service.
type reader struct {
	store            apiserver.Store
	services, slices apiserver.Stored
}

func newReader(st apiserver.Store) (*reader, error) {
	r := &reader{store: st}
	var err error
	r.services, err = apiserver.StoredAs(apiserver.Kind{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Service"),
		Resource: "services", Namespaced: true, Object: &corev1.Service{}, List: &corev1.ServiceList{}})
	if err != nil {
		return nil, err
	}
	r.slices, err = apiserver.StoredAs(apiserver.Kind{GroupVersionKind: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		Resource: "endpointslices", Namespaced: true, Object: &discoveryv1.EndpointSlice{}, List: &discoveryv1.EndpointSliceList{}})
	return r, err
}

type (
	// endpoints finds one of the ready endpoints of a Service, as kube-apiserver with --enable-aggregator-routing.
	endpoints struct{ *reader }
	// clusterIPs leaves it to the cluster's service proxy, as kube-apiserver does by default.
	clusterIPs struct{ *reader }
)

func (r endpoints) Resolve(ctx context.Context, namespace, name string, port int32) (*url.URL, error) {
	svc, err := r.service(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil, fmt.Errorf("unsupported service type %q", svc.Spec.Type)
	}
	p, err := portOf(svc, port)
	if err != nil {
		return nil, err
	}
	list, err := r.slicesOf(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	found := readyOf(svc, list, p.Name)
	if len(found) == 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	return at(found[rand.IntN(len(found))]), nil
}

// readyOf returns the ready endpoints of a Service's port; where there are some of its first address family, those.
func readyOf(svc *corev1.Service, list []*discoveryv1.EndpointSlice, port string) []string {
	var first, other []string
	for _, slice := range list {
		if len(svc.Spec.IPFamilies) > 0 && string(slice.AddressType) == string(svc.Spec.IPFamilies[0]) {
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

// readyIn returns the hosts and ports of a slice's endpoints that take requests.
func readyIn(slice *discoveryv1.EndpointSlice, port string) []string {
	var out []string
	for _, p := range slice.Ports {
		if p.Name == nil || *p.Name != port || p.Port == nil {
			continue
		}
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; isReady(e) && len(e.Addresses) > 0 {
				out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}

func isReady(e *discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }

func (r clusterIPs) Resolve(ctx context.Context, namespace, name string, port int32) (*url.URL, error) {
	svc, err := r.service(ctx, namespace, name)
	switch {
	case err != nil:
		return nil, err
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return at(net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(port)))), nil
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return nil, errors.New(`cannot route to service with ClusterIP "None"`)
	}
	p, err := portOf(svc, port)
	if err != nil {
		return nil, err
	}
	return at(net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(int(p.Port)))), nil
}

func at(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }

func portOf(svc *corev1.Service, port int32) (*corev1.ServicePort, error) {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if i < 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, svc.Name))
	}
	return &svc.Spec.Ports[i], nil
}

// service reads a Service.
func (r *reader) service(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	e, _, err := r.store.Get(ctx, r.services.Prefix()+namespace+"/"+name)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("service"), name)
	}
	obj, err := r.services.Object(e)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Service), nil
}

// slicesOf reads the EndpointSlices of a Service.
func (r *reader) slicesOf(ctx context.Context, namespace, name string) ([]*discoveryv1.EndpointSlice, error) {
	prefix := r.slices.Prefix() + namespace + "/"
	res, err := r.store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), SkipCount: true})
	if err != nil {
		return nil, err
	}
	var out []*discoveryv1.EndpointSlice
	for _, e := range res.Entries {
		obj, err := r.slices.Object(e)
		if err != nil {
			return nil, err
		}
		if slice := obj.(*discoveryv1.EndpointSlice); slice.Labels[discoveryv1.LabelServiceName] == name {
			out = append(out, slice)
		}
	}
	return out, nil
}
