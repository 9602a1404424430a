package endpoints_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/internal/endpoints"
)

// service has the ports https, 443, and the nameless 80.
func service(change ...func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		Ports: []corev1.ServicePort{{Name: "https", Port: 443}, {Port: 80}},
	}}
	for _, f := range change {
		f(&s.Spec)
	}
	return s
}

func externalName(s *corev1.ServiceSpec) {
	*s = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example.com"}
}

// slice has endpoints at the addresses: "-" before one tells that it is not ready, "?" that nothing is known.
func slice(family discoveryv1.AddressType, port string, number int32, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: family, Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}}
	for _, a := range addresses {
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}
		switch {
		case strings.HasPrefix(a, "-"):
			e.Conditions.Ready = ptr.To(false)
		case strings.HasPrefix(a, "?"):
			e.Conditions.Ready = nil
		}
		if a = strings.TrimLeft(a, "-?"); a != "" {
			e.Addresses = []string{a, "192.0.2.99"}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

const (
	v4 = discoveryv1.AddressTypeIPv4
	v6 = discoveryv1.AddressTypeIPv6
)

func TestOne(t *testing.T) {
	type list = []*discoveryv1.EndpointSlice
	none := `no endpoints available for service "web"`
	for name, tc := range map[string]struct {
		svc    *corev1.Service
		number int32
		list   list
		want   []string // each of them, and no others
		err    string
	}{
		"ready ones":        {service(), 443, list{slice(v4, "https", 8443, "1.1.1.1", "-1.1.1.2", "?1.1.1.3", "")}, []string{"1.1.1.1:8443", "1.1.1.3:8443"}, ""},
		"several slices":    {service(), 443, list{slice(v4, "https", 8443, "1.1.1.1"), slice(v4, "https", 9443, "1.1.1.2")}, []string{"1.1.1.1:8443", "1.1.1.2:9443"}, ""},
		"a nameless port":   {service(), 80, list{slice(v4, "https", 8443, "1.1.1.1"), slice(v4, "", 8080, "1.1.1.2")}, []string{"1.1.1.2:8080"}, ""},
		"the first family":  {service(), 443, list{slice(v6, "https", 1, "::1"), slice(v4, "https", 2, "1.1.1.1")}, []string{"1.1.1.1:2"}, ""},
		"the other family":  {service(), 443, list{slice(v6, "https", 1, "::1"), slice(v4, "https", 2, "-1.1.1.1")}, []string{"[::1]:1"}, ""},
		"no family":         {service(func(s *corev1.ServiceSpec) { s.IPFamilies = nil }), 443, list{slice(v6, "https", 1, "::1"), slice(v4, "https", 2, "1.1.1.1")}, []string{"[::1]:1", "1.1.1.1:2"}, ""},
		"a headless one":    {service(func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }), 443, list{slice(v4, "https", 1, "1.1.1.1")}, []string{"1.1.1.1:1"}, ""},
		"none is ready":     {service(), 443, list{slice(v4, "https", 1, "-1.1.1.1")}, nil, none},
		"no slice":          {service(), 443, nil, nil, none},
		"of another port":   {service(), 443, list{slice(v4, "http", 1, "1.1.1.1")}, nil, none},
		"any port":          {service(), 443, list{{AddressType: v4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To("https")}}, Endpoints: slice(v4, "", 1, "1.1.1.1").Endpoints}}, nil, none},
		"no such port":      {service(), 8443, list{slice(v4, "https", 8443, "1.1.1.1")}, nil, `no service port 8443 found for service "web"`},
		"an ExternalName":   {service(externalName), 443, list{slice(v4, "https", 8443, "1.1.1.1")}, nil, `unsupported service type "ExternalName"`},
		"ports lack a name": {service(), 80, list{{AddressType: v4, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](1)}}, Endpoints: slice(v4, "", 1, "1.1.1.1").Endpoints}}, nil, none},
	} {
		seen := map[string]bool{}
		for range 200 { // that one of two is never met in so many has a chance of 2^-199
			got, err := endpoints.One(tc.svc, tc.number, tc.list)
			if !says(err, tc.err) || err == nil && !slices.Contains(tc.want, got) {
				t.Fatalf("%s: %q, %v", name, got, err)
			}
			if err == nil {
				seen[got] = true
			}
			if err != nil && !strings.HasPrefix(tc.err, "unsupported") && !isUnavailable(err) {
				t.Fatalf("%s: %#v", name, err)
			}
		}
		if len(seen) != len(tc.want) {
			t.Errorf("%s: met %v of %q", name, seen, tc.want)
		}
	}
}

func TestClusterIP(t *testing.T) {
	for name, tc := range map[string]struct {
		svc       *corev1.Service
		number    int32
		want, err string
	}{
		"a cluster IP":    {service(), 443, "10.0.0.1:443", ""},
		"of IPv6":         {service(func(s *corev1.ServiceSpec) { s.ClusterIP = "fd00::1" }), 80, "[fd00::1]:80", ""},
		"a node port":     {service(func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }), 443, "10.0.0.1:443", ""},
		"an ExternalName": {service(externalName), 8443, "web.example.com:8443", ""},
		"a headless one":  {service(func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }), 443, "", `cannot route to service with ClusterIP "None"`},
		"no such port":    {service(), 8443, "", `no service port 8443 found for service "web"`},
	} {
		if got, err := endpoints.ClusterIP(tc.svc, tc.number); got != tc.want || !says(err, tc.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestNamed(t *testing.T) {
	list := []*discoveryv1.EndpointSlice{slice(v6, "https", 1, "::1"), slice(v4, "https", 2, "1.1.1.1")}
	for family, want := range map[corev1.IPFamily]string{corev1.IPv4Protocol: "1.1.1.1:2", corev1.IPv6Protocol: "[::1]:1"} {
		if got, err := endpoints.OneNamed("web", "https", family, list); got != want || err != nil {
			t.Errorf("%s: %q, %v", family, got, err)
		}
	}
	if _, err := endpoints.OneNamed("other", "http", "", list); !says(err, `no endpoints available for service "other"`) || !isUnavailable(err) {
		t.Error(err)
	}
	if got := endpoints.Ready("https", corev1.IPFamilyUnknown, list); len(got) != 2 {
		t.Errorf("of any family: %q", got)
	}
	if p, err := endpoints.Port(service(), 80); err != nil || p.Name != "" || p.Port != 80 {
		t.Errorf("%+v, %v", p, err)
	}
}

func says(err error, want string) bool {
	return err == nil && want == "" || err != nil && err.Error() == want
}

func isUnavailable(err error) bool {
	return apierrors.IsServiceUnavailable(err) && err.(apierrors.APIStatus).Status().Code == http.StatusServiceUnavailable
}
