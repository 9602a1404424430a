package apiserver_test

import (
	"context"
	"testing"

	clientrest "k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/clienttest"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store"
)

// compactor forgets a store's past.
func compactor(st *store.Store) func(*testing.T) {
	return func(t *testing.T) {
		if err := st.Compact(t.Context(), st.Revision()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConformanceInProcess(t *testing.T) {
	s, st := openServer(t)
	clienttest.Run(t, func(*testing.T) client.Interface { return s.Client(admin) },
		clienttest.Options{Compact: compactor(st)})
}

func TestConformanceOverHTTPS(t *testing.T) {
	t.Parallel() // client-go waits and asks again, for 20 s in all, when a version is too large
	s, st := openServer(t)
	cfg := serveTLS(t, s)
	clienttest.Run(t, func(t *testing.T) client.Interface {
		c, err := rest.New(rest.Config{REST: cfg})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}, clienttest.Options{Compact: compactor(st)})
}

// serveTLS serves over TLS on a network in memory until the test ends, and returns how to reach it.
func serveTLS(t testing.TB, s *apiserver.Server) *clientrest.Config {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.Server("kubernetes", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.Client("admin", apiserver.GroupMasters)
	if err != nil {
		t.Fatal(err)
	}
	pipe := apiserver.NewPipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, pipe, ca.ServerTLS(serving)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &clientrest.Config{
		Host: "https://kubernetes", Dial: pipe.Dial, QPS: -1,
		TLSClientConfig: clientrest.TLSClientConfig{CAData: ca.CertificatePEM(), CertData: own.CertificatePEM, KeyData: own.KeyPEM},
	}
}
