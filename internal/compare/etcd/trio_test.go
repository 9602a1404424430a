package etcd

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/etcdapi/etcdraft"
	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

// startTrio starts three members of a durable store, each of which serves the API and tells of its cluster, for the
// length of the test.
func startTrio(t testing.TB) (addrs []string, nodes []*raft.Node) {
	t.Helper()
	var urls sync.Map // of the members' APIs
	var members []raft.Member
	for _, id := range []string{"one", "two", "three"} {
		members = append(members, raft.Member{ID: id, Address: freeURL(t).Host})
	}
	dir := t.TempDir()
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
		addr := serveStore(t, etcdapi.Config{
			Store: n.Store(), Cluster: etcdraft.Cluster(n),
			ClientURLs: func(member string) []string {
				if url, ok := urls.Load(member); ok {
					return []string{url.(string)}
				}
				return nil
			},
		})
		urls.Store(n.Status().ID, "http://"+addr)
		addrs = append(addrs, addr)
	}
	return addrs, nodes
}

// plainNetwork is TCP without TLS; what is tested here is on the other side.
type plainNetwork struct{}

func (plainNetwork) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (plainNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// TestSuiteOverTrio runs the suite over a client that asks the three members in turn.
func TestSuiteOverTrio(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		addrs, _ := startTrio(t)
		return remote{connect(t, addrs...)}
	})
}

// TestKubernetesOnTrio has a kube-apiserver whose requests go to all three members.
func TestKubernetesOnTrio(t *testing.T) {
	if *kubernetes == "" {
		t.Skip("needs -kubernetes DIR, a folder with kube-apiserver; see make test-etcd")
	}
	addrs, _ := startTrio(t)
	testKubernetes(t, startKube(t, addrs...))
}

// TestKubernetesWhileLeadersChange has a kube-apiserver on three members whose leader hands over again and again.
// No request may fail, and the watch may miss nothing.
func TestKubernetesWhileLeadersChange(t *testing.T) {
	if *kubernetes == "" {
		t.Skip("needs -kubernetes DIR, a folder with kube-apiserver; see make test-etcd")
	}
	addrs, nodes := startTrio(t)
	k := startKube(t, addrs...)
	ctx, cancel := context.WithCancel(context.Background())
	var moving sync.WaitGroup
	moves := 0
	moving.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(300 * time.Millisecond)
			if nodes[moves%3].TransferLeadership(ctx, "") == nil {
				moves++
			}
		}
	})
	testKubernetes(t, k)
	cancel()
	moving.Wait()
	if t.Logf("leadership moved %d times", moves); moves == 0 {
		t.Error("leadership never moved")
	}
}

// TestTrioTellsItsMembers asks each member, as etcdctl's member list and endpoint status do.
func TestTrioTellsItsMembers(t *testing.T) {
	addrs, nodes := startTrio(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	leaders := map[uint64]int{}
	for i, addr := range addrs {
		c := connect(t, addr)
		list, err := c.MemberList(ctx)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]string{}
		for _, m := range list.Members {
			if len(m.ClientURLs) == 1 {
				told[m.Name] = m.ClientURLs[0]
			}
		}
		for j, n := range nodes {
			if want := "http://" + addrs[j]; told[n.Status().ID] != want {
				t.Errorf("%s tells that %s is at %q, not %q", addrs[i], n.Status().ID, told[n.Status().ID], want)
			}
		}
		s, err := c.Status(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		leaders[s.Leader]++
	}
	if len(leaders) != 1 || leaders[0] != 0 {
		t.Errorf("the members name different leaders: %v", leaders)
	}
}
