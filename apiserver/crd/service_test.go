package crd_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/apiserver/pki"
)

// TestConversionService converts by a webhook that is a Service: it is called at a ready endpoint, the first time over a
// new connection and then over that one, which Close closes. While it has no endpoint, clients are told so.
func TestConversionService(t *testing.T) {
	h := &hook{}
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("hook.default.svc")
	if err != nil {
		t.Fatal(err)
	}
	at := httptest.NewUnstartedServer(h)
	at.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
	var open sync.WaitGroup
	var opened atomic.Int32
	at.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
			opened.Add(1)
		case http.StateClosed:
			open.Done()
		}
	}
	at.StartTLS()
	t.Cleanup(at.Close)

	var s server
	var mu sync.Mutex
	var dialed []string
	s = start(t, func(c *crd.Config) {
		c.Resolve = crd.EndpointOf(func() client.Interface { return s.Client(admin) })
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			dialed = append(dialed, address)
			mu.Unlock()
			// The address of endpoints can't be a loopback one.
			return (&net.Dialer{}).DialContext(ctx, network, at.Listener.Addr().String())
		}
	})
	bundle, _ := json.Marshal(ca.CertificatePEM())
	s.define(t, strings.Replace(simple, "CONVERSION",
		`conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {service: {namespace: default, name: hook}, caBundle: `+string(bundle)+`}}}`, 1))
	_, err = client.For[*corev1.Service](s.Client(admin)).Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "hook"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"x0"},"a":"1"}`)
	a := s.do("GET", "/apis/example.com/v2/foos/x0", "")
	if want := `conversion webhook for example.com/v1, Kind=Foo failed: Post \"https://hook.default.svc:443/?timeout=30s\": no endpoints available for service \"hook\"`; a.Code != http.StatusInternalServerError || !strings.Contains(a.Body.String(), want) {
		t.Errorf("without endpoints: %d %s", a.Code, a.Body)
	}
	_, port, _ := net.SplitHostPort(at.Listener.Addr().String())
	number, _ := strconv.Atoi(port)
	_, err = client.For[*discoveryv1.EndpointSlice](s.Client(admin)).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "hook", Labels: map[string]string{discoveryv1.LabelServiceName: "hook"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(number))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.2.3"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		name := fmt.Sprint("x", i)
		if i > 0 {
			s.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"`+name+`"},"a":"1"}`)
		}
		if got := s.must(t, "GET", "/apis/example.com/v2/foos/"+name, ""); !strings.Contains(got, `"b":"1"`) {
			t.Errorf("as v2: %s", got)
		}
	}
	mu.Lock()
	if len(dialed) != 1 || dialed[0] != "10.1.2.3:"+port || opened.Load() != 1 || h.calls.Load() < 10 {
		t.Errorf("%d calls over connections to %q", h.calls.Load(), dialed)
	}
	mu.Unlock()
	if err := s.defs.Close(); err != nil {
		t.Fatal(err)
	}
	open.Wait()
}
