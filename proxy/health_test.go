package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/proxy"
)

// TestHealthCheckNodePort: a load balancer that asks learns whether the node has endpoints.
func TestHealthCheckNodePort(t *testing.T) {
	api, m := apitest.Open(t).Admin(), &proxy.Memory{}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	svc.Spec.Ports = []corev1.ServicePort{{Name: "p", Port: 80}}
	svc, err := client.For[*corev1.Service](api).Create(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	port := svc.Spec.HealthCheckNodePort
	if port == 0 {
		t.Fatal("the API server gave no healthCheckNodePort")
	}
	p, stop := run(t, proxy.Config{Client: api, Applier: m, NodeName: "here", CheckPeriod: 20 * time.Millisecond})
	<-p.Ready()
	url := fmt.Sprintf("http://127.0.0.1:%d/healthz", port)
	asks(t, url, http.StatusServiceUnavailable, 0)
	for _, step := range []struct {
		node  string
		ready bool
		code  int
		local int
	}{{"here", true, 200, 1}, {"there", true, 503, 0}, {"here", false, 503, 0}, {"here", true, 200, 1}} {
		slice(t, api, step.node, step.ready)
		asks(t, url, step.code, step.local)
	}
	if err := client.For[*corev1.Service](api).Delete(t.Context(), "default", "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("still answers, after the service is gone")
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func slice(t *testing.T, api client.Interface, node string, ready bool) {
	t.Helper()
	endpoints(t, api, "web", "TCP", "10.244.0.5")
	slices := client.For[*discoveryv1.EndpointSlice](api)
	s, err := slices.Get(t.Context(), "default", "web-1")
	if err != nil {
		t.Fatal(err)
	}
	s.Endpoints[0].NodeName, s.Endpoints[0].Conditions.Ready = &node, &ready
	if _, err := slices.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// asks waits for an answer.
func asks(t *testing.T, url string, code, local int) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
		if err != nil {
			got = err.Error()
			continue
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got = fmt.Sprint(res.StatusCode, " ", string(b))
		var body struct {
			Service             struct{ Namespace, Name string }
			LocalEndpoints      int
			ServiceProxyHealthy bool
		}
		if err := json.Unmarshal(b, &body); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == code && body.LocalEndpoints == local && body.ServiceProxyHealthy && body.Service.Name == "web" {
			return
		}
	}
	t.Fatalf("last answer %s, want %d with %d endpoints", got, code, local)
}
