package clientgo

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store"
)

// briefHistory runs an API server in this process that keeps a few revisions of history only.
func briefHistory(t *testing.T, revisions int) *rest.Config {
	t.Helper()
	st, err := store.Open(store.Config{HistoryRevisions: revisions})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	api, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	must(t, err)
	ca, err := pki.New("test")
	must(t, err)
	serving, err := ca.Server("127.0.0.1")
	must(t, err)
	own, err := ca.Client("admin", apiserver.GroupMasters)
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- api.Run(ctx) }()
	go func() { done <- api.Serve(ctx, ln, ca.ServerTLS(serving)) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	<-api.Ready()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, pki.Kubeconfig{Server: "https://" + ln.Addr().String(), Authority: ca.CertificatePEM(), Client: own}.Write(path))
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	must(t, err)
	cfg.QPS = -1
	return cfg
}
