package apiserver

//lint:file-ignore SA1019 Endpoints are deprecated, and kept for clients that still read them

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver/client"
)

// The Service by which pods reach the API.
const (
	apiService  = "kubernetes"
	apiPortName = "https"
	apiPort     = 443
)

var (
	servicesResource  = corev1.SchemeGroupVersion.WithResource("services")
	endpointsResource = corev1.SchemeGroupVersion.WithResource("endpoints")
	slicesResource    = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
)

// ServiceIP is the cluster address of the Service "kubernetes", the first of the service range. The
// server's certificate should be good for it.
func (s *Server) ServiceIP() string { return s.cfg.ServiceCIDR.Addr().Next().String() }

// advertise makes and keeps the Service "kubernetes" and its endpoints, in the older form, too.
func (s *Server) advertise(ctx context.Context) error {
	if !s.cfg.Advertise.IsValid() {
		return nil
	}
	for _, o := range []struct {
		ref client.Ref
		obj client.Object
		fix func(stored client.Object)
	}{
		{client.Ref{GroupVersionResource: servicesResource}, s.apiServiceObject(), s.fixService},
		{client.Ref{GroupVersionResource: endpointsResource}, s.apiEndpoints(), s.fixEndpoints},
		{client.Ref{GroupVersionResource: slicesResource}, s.apiSlice(), s.fixSlice},
	} {
		if s.base.byResource[o.ref.GroupVersionResource] == nil {
			continue
		}
		o.ref.Namespace, o.ref.Name = metav1.NamespaceDefault, apiService
		if err := s.keep(ctx, o.ref, o.obj, o.fix); err != nil {
			return fmt.Errorf("apiserver: keeping %s: %w", o.ref, err)
		}
	}
	return nil
}

// keep makes an object, or sets right the one that is there.
func (s *Server) keep(ctx context.Context, ref client.Ref, obj client.Object, fix func(client.Object)) error {
	err := s.systemUpdate(ctx, ref, fix)
	if !apierrors.IsNotFound(err) {
		return err
	}
	create := ref
	create.Name = ""
	if _, err = s.systemCreate(ctx, create, obj); apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// systemUpdate sets an object right.
func (s *Server) systemUpdate(ctx context.Context, ref client.Ref, fix func(client.Object)) error {
	rq, err := s.begin(ctx, systemUser, verbUpdate, ref)
	if err != nil {
		return err
	}
	_, err = s.update(ctx, rq, func(old client.Object) (runtime.Object, error) {
		c := old.DeepCopyObject().(client.Object)
		fix(c)
		return c, nil
	})
	return err
}

func (s *Server) apiLabels() map[string]string {
	return map[string]string{"component": "apiserver", "provider": "kubernetes"}
}

func (s *Server) apiServiceObject() *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: apiService, Labels: s.apiLabels()},
		Spec:       corev1.ServiceSpec{ClusterIP: s.ServiceIP(), ClusterIPs: []string{s.ServiceIP()}, Type: corev1.ServiceTypeClusterIP},
	}
	s.fixService(svc)
	return svc
}

// fixService sets the ports right; the address can't change.
func (s *Server) fixService(obj client.Object) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return
	}
	want := corev1.ServicePort{
		Name: apiPortName, Protocol: corev1.ProtocolTCP, Port: apiPort, TargetPort: intstr.FromInt32(int32(s.cfg.Advertise.Port())),
	}
	if len(svc.Spec.Ports) != 1 || !apiequality.Semantic.DeepEqual(svc.Spec.Ports[0], want) {
		svc.Spec.Ports = []corev1.ServicePort{want}
	}
}

// apiEndpoints says in its labels that nobody shall make slices from it: there is one.
func (s *Server) apiEndpoints() *corev1.Endpoints {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{
		Namespace: metav1.NamespaceDefault, Name: apiService, Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
	}}
	s.fixEndpoints(e)
	return e
}

func (s *Server) fixEndpoints(obj client.Object) {
	e, ok := obj.(*corev1.Endpoints)
	if !ok {
		return
	}
	e.Subsets = []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: s.cfg.Advertise.Addr().String()}},
		Ports:     []corev1.EndpointPort{{Name: apiPortName, Port: int32(s.cfg.Advertise.Port()), Protocol: corev1.ProtocolTCP}},
	}}
}

func (s *Server) apiSlice() *discoveryv1.EndpointSlice {
	e := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: apiService, Labels: map[string]string{discoveryv1.LabelServiceName: apiService},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if s.cfg.Advertise.Addr().Is6() {
		e.AddressType = discoveryv1.AddressTypeIPv6
	}
	s.fixSlice(e)
	return e
}

func (s *Server) fixSlice(obj client.Object) {
	e, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	ready, port, name, tcp := true, int32(s.cfg.Advertise.Port()), apiPortName, corev1.ProtocolTCP
	e.Endpoints = []discoveryv1.Endpoint{{
		Addresses: []string{s.cfg.Advertise.Addr().String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
	}}
	e.Ports = []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &tcp}}
}
