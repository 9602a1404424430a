package kube_test

import (
	"testing"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/clienttest"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/compare/kube"
)

// TestContract holds package rest over a real kube-apiserver to the suite that inboard's own server
// passes: a wrong expectation in the suite shows here.
func TestContract(t *testing.T) {
	cfg := kube.Start(t)
	clienttest.Run(t, func(t *testing.T) client.Interface {
		c, err := rest.New(rest.Config{REST: cfg})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}, clienttest.Options{})
}
