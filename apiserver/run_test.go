package apiserver_test

import (
	"context"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// runServer runs a server's housekeeping until the test ends.
func runServer(t testing.TB, s *apiserver.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("run: %v", err)
	}
}

func TestRunMakesWhatEveryClusterHas(t *testing.T) {
	s := newServer(t, func(c *apiserver.Config) { c.Advertise = netip.MustParseAddrPort("192.0.2.1:6443") })
	runServer(t, s)
	c := s.Client(admin)
	l, err := client.For[*corev1.Namespace](c).List(t.Context(), "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Items) != 4 {
		t.Errorf("%d namespaces", len(l.Items))
	}
	svc, err := client.For[*corev1.Service](c).Get(t.Context(), "default", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if svc.Spec.ClusterIP != "10.96.0.1" || svc.Spec.Ports[0].TargetPort.IntValue() != 6443 {
		t.Errorf("service %+v", svc.Spec)
	}
	slice, err := client.For[*discoveryv1.EndpointSlice](c).Get(t.Context(), "default", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if slice.Endpoints[0].Addresses[0] != "192.0.2.1" {
		t.Errorf("endpoints %+v", slice.Endpoints)
	}
}
