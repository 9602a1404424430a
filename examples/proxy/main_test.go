package main

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/proxy"
)

// TestMain runs the tests in a network namespace of their own, where there is root.
func TestMain(m *testing.M) {
	nstest.Enter()
	goleak.VerifyTestMain(m)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOverHTTPS: with nothing but a kubeconfig, services become rules, which are gone at the end.
func TestOverHTTPS(t *testing.T) {
	nstest.Need(t)
	if _, err := exec.LookPath("iptables-save"); err != nil {
		t.Skip("needs iptables:", err)
	}
	api := apitest.Open(t)
	kubeconfig := api.Serve(t, "system:kube-proxy")
	_, err := client.For[*corev1.Service](api.Admin()).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	})
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, kubeconfig, proxy.Config{NodeName: "here", ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}})
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(saved(t), "default/web has no endpoints"); {
		if time.Now().After(deadline) {
			t.Fatalf("no rules after 20 s:\n%s", saved(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	check(t, <-done)
	if left := saved(t); strings.Contains(left, "INBOARD-") {
		t.Errorf("left:\n%s", left)
	}
}

func saved(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("iptables-save").CombinedOutput()
	check(t, err)
	return string(out)
}

func TestWrongFlag(t *testing.T) {
	var to []netip.Prefix
	if err := prefix("-cluster-cidr", "10.244.0.0", &to); err == nil || !strings.Contains(err.Error(), "-cluster-cidr") {
		t.Errorf("error %v", err)
	}
	if err := run(t.Context(), "/no/such/kubeconfig", proxy.Config{}); err == nil || !strings.Contains(err.Error(), "/no/such/kubeconfig") {
		t.Errorf("error %v", err)
	}
}
