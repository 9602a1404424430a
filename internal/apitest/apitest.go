// Package apitest starts API servers for the tests of what talks to one. Examples show the same steps with the
// packages apiserver and store themselves.
package apitest

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store"
)

// Server is a running API server with all built-in kinds over a store in memory.
type Server struct {
	API   *apiserver.Server
	Store *store.Store
}

// Open starts a server, changed by the functions given, and returns when it is ready. At the end of the test, or
// of the bubble of synctest, the server ends and its store is closed; what goes wrong then is the test's error.
func Open(t testing.TB, change ...func(*apiserver.Config)) *Server {
	t.Helper()
	st, err := store.Open(store.Config{})
	must(t, err)
	t.Cleanup(func() { report(t, st.Close()) })
	cfg := apiserver.Config{
		Store: st, Kinds: kinds.All(),
		// Most tests run no controller that would undo what these do.
		DisableAdmission: []string{"TaintNodesByCondition", "StorageObjectInUseProtection"},
	}
	for _, f := range change {
		f(&cfg)
	}
	api, err := apiserver.New(cfg)
	must(t, err)
	select {
	case <-during(t, api.Run):
		t.Fatal("the API server ended before it was ready")
	case <-api.Ready():
	}
	return &Server{API: api, Store: st}
}

// Admin returns a client that may do everything.
func (s *Server) Admin() client.Interface { return s.As("admin", apiserver.GroupMasters) }

// As returns a client with the rights of a user, such as "system:kube-scheduler".
func (s *Server) As(user string, groups ...string) client.Interface {
	return s.API.Client(apiserver.Identity{User: user, Groups: groups})
}

// Serve makes the server speak HTTPS at a loopback port until the test ends, and returns the path of a kubeconfig
// with a client certificate of the user.
func (s *Server) Serve(t testing.TB, user string, groups ...string) (kubeconfig string) {
	t.Helper()
	ca, err := pki.New("test")
	must(t, err)
	serving, err := ca.Server("127.0.0.1")
	must(t, err)
	own, err := ca.Client(user, groups...)
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	during(t, func(ctx context.Context) error { return s.API.Serve(ctx, ln, ca.ServerTLS(serving)) })
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	must(t, pki.Kubeconfig{Server: "https://" + ln.Addr().String(), Authority: ca.CertificatePEM(), Client: own}.Write(kubeconfig))
	return kubeconfig
}

// during runs f until the test ends, and waits for it. The channel is closed when f has returned.
func during(t testing.TB, f func(context.Context) error) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = f(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		report(t, err)
	})
	return ended
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func report(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
