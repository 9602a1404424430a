package etcd

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

// startTrio starts three members of a durable store, each of which serves the API, for the length of the test.
func startTrio(t testing.TB) (addrs []string) {
	t.Helper()
	var members []raft.Member
	for _, id := range []string{"one", "two", "three"} {
		members = append(members, raft.Member{ID: id, Address: freeURL(t).Host})
	}
	dir := t.TempDir()
	var nodes []*raft.Node
	for _, m := range members {
		n, err := raft.Open(raft.Config{
			Dir: filepath.Join(dir, m.ID), ID: m.ID, Address: m.Address, Members: members, Network: plainNetwork{},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range nodes {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, serveStore(t, etcdapi.Config{Store: n.Store(), Name: n.Status().ID}))
	}
	return addrs
}

// plainNetwork is TCP without TLS; what is tested here is on the other side.
type plainNetwork struct{}

func (plainNetwork) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (plainNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// TestSuiteOverTrio runs the suite over a client that asks the three members in turn.
func TestSuiteOverTrio(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return remote{connect(t, startTrio(t)...)} })
}

// TestKubernetesOnTrio has a kube-apiserver whose requests go to all three members.
func TestKubernetesOnTrio(t *testing.T) {
	if *kubernetes == "" {
		t.Skip("needs -kubernetes DIR, a folder with kube-apiserver; see make test-etcd")
	}
	testKubernetes(t, startKube(t, startTrio(t)...))
}
