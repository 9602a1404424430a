package apiserver_test

//lint:file-ignore SA1019 Endpoints are deprecated, and served all the same

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
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
	older, err := client.For[*corev1.Endpoints](c).Get(t.Context(), "default", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if older.Subsets[0].Addresses[0].IP != "192.0.2.1" || older.Subsets[0].Ports[0].Port != 6443 {
		t.Errorf("endpoints %+v", older.Subsets)
	}
	cidr, err := client.For[*networkingv1.ServiceCIDR](c).Get(t.Context(), "", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cidr.Spec.CIDRs, []string{"10.96.0.0/16"}) || !meta.IsStatusConditionTrue(cidr.Status.Conditions, "Ready") {
		t.Errorf("service range %+v", cidr)
	}
}

// TestRunLeavesAnotherRangeAlone: a server whose range is not the one that addresses were given out of does not call that
// ready, nor change it.
func TestRunLeavesAnotherRangeAlone(t *testing.T) {
	s := newServer(t)
	cidrs := client.For[*networkingv1.ServiceCIDR](s.Client(admin))
	_, err := cidrs.Create(t.Context(), &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/16"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	runServer(t, s)
	cidr, err := cidrs.Get(t.Context(), "", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if cidr.Spec.CIDRs[0] != "10.0.0.0/16" || len(cidr.Status.Conditions) > 0 {
		t.Errorf("service range %+v", cidr)
	}
}
