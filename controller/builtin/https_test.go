package builtin_test

import (
	"testing"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/internal/apitest"
)

// overHTTPS returns how the controllers reach the API server over HTTPS.
func overHTTPS(t *testing.T) func(*apitest.Server) client.Interface {
	return func(api *apitest.Server) client.Interface {
		t.Helper()
		c, err := rest.New(rest.Config{Kubeconfig: api.Serve(t, "admin", apiserver.GroupMasters)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}
