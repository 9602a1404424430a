package aggregate

import (
	"context"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/endpoints"
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
	// endpointResolver finds one of the ready endpoints of a Service, as kube-apiserver with --enable-aggregator-routing.
	endpointResolver struct{ *reader }
	// clusterIPResolver leaves it to the cluster's service proxy, as kube-apiserver does by default.
	clusterIPResolver struct{ *reader }
)

func (r endpointResolver) Resolve(ctx context.Context, namespace, name string, port int32) (*url.URL, error) {
	svc, err := r.service(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	list, err := r.slicesOf(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return overHTTPS(endpoints.One(svc, port, list))
}

func (r clusterIPResolver) Resolve(ctx context.Context, namespace, name string, port int32) (*url.URL, error) {
	svc, err := r.service(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return overHTTPS(endpoints.ClusterIP(svc, port))
}

func overHTTPS(host string, err error) (*url.URL, error) {
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: host}, nil
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
