package builtin_test

import (
	"context"
	"net"
	"testing"

	clientrest "k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/pki"
)

// overHTTPS serves an API server on a loopback port until the test ends, and returns clients of it.
func overHTTPS(t *testing.T) func(*apiserver.Server, client.Interface) client.Interface {
	t.Helper()
	return func(server *apiserver.Server, _ client.Interface) client.Interface {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ca, err := pki.New("test")
		must(err)
		serving, err := ca.Server("127.0.0.1")
		must(err)
		admin, err := ca.Client("admin", apiserver.GroupMasters)
		must(err)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- server.Serve(ctx, ln, ca.ServerTLS(serving)) }()
		t.Cleanup(func() { cancel(); <-done })
		c, err := rest.New(rest.Config{REST: &clientrest.Config{
			Host: "https://" + ln.Addr().String(),
			TLSClientConfig: clientrest.TLSClientConfig{
				CAData: ca.CertificatePEM(), CertData: admin.CertificatePEM, KeyData: admin.KeyPEM,
			},
		}})
		must(err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}
