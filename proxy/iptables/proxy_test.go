package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/proxy"
)

func createService(t testing.TB, api client.Interface, name string, nodePort int32) *corev1.Service {
	t.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	svc.Spec.Type = corev1.ServiceTypeNodePort
	for _, proto := range []corev1.Protocol{"TCP", "UDP"} {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: strings.ToLower(string(proto)), Port: 80, Protocol: proto, NodePort: nodePort})
	}
	svc, err := client.For[*corev1.Service](api).Create(t.Context(), svc)
	must(t, err)
	return svc
}

// setEndpoints creates or replaces the one slice of a Service.
func setEndpoints(t testing.TB, api client.Interface, name string, hosts ...int) {
	t.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, proto := range []corev1.Protocol{"TCP", "UDP"} {
		port, portName := int32(8080), strings.ToLower(string(proto))
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &portName, Port: &port, Protocol: &proto})
	}
	for _, h := range hosts {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", h)}})
	}
	slices := client.For[*discoveryv1.EndpointSlice](api)
	if _, err := slices.Create(t.Context(), s); err != nil {
		_, err = slices.Update(t.Context(), s)
		must(t, err)
	}
}

// TestProxy is the whole thing: objects of the API become connections, and at the end nothing is
// left.
func TestProxy(t *testing.T) {
	w := newWorld(t)
	w.outsider("gateway", 9)
	for i, name := range []string{"a", "b", "client"} {
		w.pod(name, 10+i).serve(8080)
	}
	must(t, exec.Command("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.0/24", "-j", "ACCEPT").Run())
	must(t, exec.Command("iptables", "-A", "FORWARD", "-s", "203.0.113.0/24", "-j", "DROP").Run())
	before := saved(t)

	api := apitest.Open(t).Admin()
	svc := createService(t, api, "web", 30080)
	setEndpoints(t, api, "web", 10)
	applier, err := New(Config{})
	must(t, err)
	var syncs atomic.Int64
	p, err := proxy.New(proxy.Config{
		Client: api, Applier: applier, NodeName: "here", ClusterCIDRs: podsKnown.ClusterCIDRs,
		CheckPeriod: 50 * time.Millisecond,
		OnSync:      func(s proxy.Sync) { syncs.Add(1) },
	})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()

	vip := svc.Spec.ClusterIP + ":80"
	for _, network := range []string{"tcp4", "udp4"} {
		w.all(nil, network, vip, "a")
		w.all(w.pods["client"], network, vip, "a")
		w.all(nil, network, "127.0.0.1:30080", "a")
	}
	t.Log("a steady UDP client is moved when its endpoint goes")
	steady := w.pods["client"].dial(vip)
	if got, err := ask(steady); err != nil || got.pod != "a" {
		t.Errorf("%v, %v", got, err)
	}
	setEndpoints(t, api, "web", 11)
	w.until(func() bool { got, err := ask(steady); return err == nil && got.pod == "b" })
	w.all(nil, "tcp4", vip, "b")

	t.Log("rules that somebody flushed come back")
	must(t, exec.Command("sh", "-c", "iptables -t nat -F; iptables -t nat -X; iptables -F").Run())
	w.until(func() bool { a, err := w.pods["client"].call("tcp4", vip); return err == nil && a.pod == "b" })

	t.Log("at the end, what is left is what was there before, but for what we flushed")
	must(t, exec.Command("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.0/24", "-j", "ACCEPT").Run())
	must(t, exec.Command("iptables", "-A", "FORWARD", "-s", "203.0.113.0/24", "-j", "DROP").Run())
	stop()
	must(t, <-done)
	if after := saved(t); sorted(after) != sorted(before) {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
	must(t, exec.Command("sh", "-c", "iptables -t nat -F; iptables -F").Run())
}

// until waits for a condition that depends on the kernel, which nobody reports.
func (w *world) until(f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); {
		if time.Now().After(deadline) {
			w.t.Fatal("waited for ten seconds in vain")
		}
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkChange measures the time from an update of an EndpointSlice to the first connection that
// reaches the new endpoint, among many services.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{0, 1000, 5000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) { benchmarkChange(b, n) })
	}
}

func benchmarkChange(b *testing.B, n int) {
	w := newWorld(b)
	w.outsider("gateway", 9)
	w.pod("a", 10).serve(8080)
	w.pod("b", 11).serve(8080)
	api := apitest.Open(b).Admin()
	vip := createService(b, api, "web", 30080).Spec.ClusterIP + ":80"
	for i := range n {
		name := fmt.Sprintf("s-%05d", i)
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		svc.Spec.Ports = []corev1.ServicePort{{Name: "tcp", Port: 80}}
		_, err := client.For[*corev1.Service](api).Create(b.Context(), svc)
		must(b, err)
		setEndpoints(b, api, name, 10, 11, 12, 13)
	}
	setEndpoints(b, api, "web", 10)
	applier, err := New(Config{})
	must(b, err)
	p, err := proxy.New(proxy.Config{Client: api, Applier: applier, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}})
	must(b, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()
	hosts := []string{"a", "b"}
	for i := 1; b.Loop(); i++ {
		b.StopTimer()
		time.Sleep(200 * time.Millisecond) // what is measured is a change after a quiet time
		b.StartTimer()
		setEndpoints(b, api, "web", 10+i%2)
		w.until(func() bool { a, err := w.pods["a"].call("tcp4", vip); return err == nil && a.pod == hosts[i%2] })
	}
	b.StopTimer()
	stop()
	must(b, <-done)
}
