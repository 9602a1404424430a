package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/raft"
)

// startAPI starts the store and the API server, or finds the API elsewhere. What it returns closes the
// store.
func (c *cluster) startAPI(ctx context.Context, wg *sync.WaitGroup) (func() error, error) {
	nothing := func() error { return nil }
	if !c.has(apiServer) {
		var err error
		if c.remote, err = rest.New(rest.Config{Kubeconfig: c.kubeconfig, UserAgent: "inboard"}); err != nil {
			return nothing, err
		}
		return c.remote.Close, nil
	}
	ln, err := c.listenAPI()
	if err != nil {
		return nothing, err
	}
	from := time.Now()
	st, closeStore, err := c.openStore()
	if err != nil {
		ln.Close()
		return nothing, err
	}
	closeAll := func() error {
		if c.definitions != nil {
			_ = c.definitions.Close() // never an error
		}
		if c.hooks != nil {
			_ = c.hooks.Close() // never an error
		}
		return closeStore()
	}
	c.part("store", from, "%s", c.where())
	if err := c.serveEtcd(ctx, wg, st); err != nil {
		ln.Close()
		return closeAll, err
	}
	from = time.Now()
	if err := c.serveAPI(ctx, wg, st, ln); err != nil {
		ln.Close()
		return closeAll, err
	}
	address := c.reachable(ln.Addr())
	if err := c.writeKubeconfig("https://" + address); err != nil {
		return closeAll, err
	}
	c.part("apiserver", from, "https://%s, ready %s after the start", address, took(c.begun))
	return closeAll, nil
}

// where tells where the store is.
func (c *cluster) where() string {
	if c.dir == "" {
		return "in memory"
	}
	return "durable, in " + c.dir
}

// reachable is the address at which others find a listener: one that listens everywhere is at the node's.
func (c *cluster) reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort(c.nodeIP.String(), port)
	}
	return addr.String()
}

// advertised is the address at which pods find a listener, or none: loopback is another one to each pod.
func (c *cluster) advertised(addr net.Addr) netip.AddrPort {
	at, err := netip.ParseAddrPort(c.reachable(addr))
	if err != nil || at.Addr().IsLoopback() || at.Addr().IsLinkLocalUnicast() {
		return netip.AddrPort{}
	}
	return at
}

func (c *cluster) openStore() (*store.Store, func() error, error) {
	cfg := store.Config{HistoryAge: c.history}
	if c.dir == "" {
		st, err := store.Open(cfg)
		if err != nil {
			return nil, nil, err
		}
		return st, st.Close, nil
	}
	node, err := raft.Open(raft.Config{Dir: filepath.Join(c.home, "store"), Store: cfg, Logger: c.log})
	if errors.Is(err, store.ErrLocked) {
		return nil, nil, fmt.Errorf("-dir: another program works in %s: stop it, or choose another directory: %w", c.dir, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("-dir: %w", err)
	}
	return node.Store(), node.Close, nil
}

// serveEtcd serves the store at -etcd.
func (c *cluster) serveEtcd(ctx context.Context, wg *sync.WaitGroup, st *store.Store) error {
	if c.etcd == "" {
		return nil
	}
	from := time.Now()
	api, err := etcdapi.New(etcdapi.Config{
		Store: st, ClusterName: clusterName, Name: c.node, Logger: c.log,
		ClientURLs: func(string) []string { return []string{"http://" + c.etcd} },
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", c.etcd)
	if err != nil {
		return fmt.Errorf("-etcd: %w", err)
	}
	c.start(ctx, wg, "etcd", func(ctx context.Context) error { return api.Serve(ctx, ln) })
	c.part("etcd", from, "the store, at %s", c.etcd)
	return nil
}

// serveAPI starts the API server and waits until it is ready.
func (c *cluster) serveAPI(ctx context.Context, wg *sync.WaitGroup, st *store.Store, ln net.Listener) error {
	cfg := apiserver.Config{Store: st, Kinds: kinds.All(), ServiceCIDR: c.services, Logger: c.log,
		RequireServiceAccounts: c.has(controllers), Advertise: c.advertised(ln.Addr())}
	if !c.has(controllers) {
		// Nobody takes the taint from nodes that are ready, nor the finalizer from volumes that nothing uses.
		cfg.DisableAdmission = []string{"TaintNodesByCondition", "StorageObjectInUseProtection"}
	}
	var err error
	if c.authority, err = c.loadAuthority("inboard"); err != nil {
		return err
	}
	if cfg.Kubelet, err = c.toKubelets(); err != nil {
		return err
	}
	if err := c.authorize(&cfg); err != nil {
		return err
	}
	if err := c.extend(&cfg); err != nil {
		return err
	}
	figures, err := c.flows(&cfg)
	if err != nil {
		return err
	}
	if c.server, err = apiserver.New(cfg); err != nil {
		return err
	}
	figures.Observe(c.server)
	serving, err := c.certificates(ln.Addr())
	if err != nil {
		return err
	}
	c.start(ctx, wg, "apiserver", c.server.Run)
	c.start(ctx, wg, "custom resources", func(ctx context.Context) error { return c.definitions.Run(ctx, c.itself()) })
	c.start(ctx, wg, "apiserver", func(ctx context.Context) error { return c.server.Serve(ctx, ln, serving) })
	c.start(ctx, wg, "apiserver", c.typeChecker().Run)
	return c.await(ctx, c.server.Ready())
}

// toKubelets is how the API server proves itself to kubelets. The one in this program is at the other end of a pipe;
// those elsewhere sign their certificates themselves, as Kubernetes' do, and as there they need not prove themselves to it.
func (c *cluster) toKubelets() (apiserver.KubeletConfig, error) {
	pair, err := c.authority.Client("kube-apiserver-kubelet-client", apiserver.GroupMasters)
	if err != nil {
		return apiserver.KubeletConfig{}, err
	}
	return apiserver.KubeletConfig{Dial: c.dialKubelet,
		TLS: &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}, nil
}

// dialKubelet reaches the kubelet of this program in memory, others by the network.
func (c *cluster) dialKubelet(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(address); c.has(theKubelet) && host == c.nodeIP.String() {
		return c.kubeletAPI.Dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// clusterName stands in the kubeconfigs that this program writes, by which it knows them again.
const clusterName = "inboard"

func (c *cluster) writeKubeconfig(url string) error {
	old, err := os.ReadFile(c.kubeconfigPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("-kubeconfig: %w", err)
	}
	if len(old) > 0 && !bytes.Contains(old, []byte("name: "+clusterName+"\n")) {
		return fmt.Errorf("-kubeconfig: %s is of another cluster: choose another file, or remove it", c.kubeconfigPath)
	}
	admin, err := c.authority.Client("admin", apiserver.GroupMasters)
	if err != nil {
		return err
	}
	err = pki.Kubeconfig{Cluster: clusterName, Server: url, Authority: c.authority.CertificatePEM(), Client: admin}.Write(c.kubeconfigPath)
	if err != nil {
		return fmt.Errorf("-kubeconfig: %w", err)
	}
	return nil
}

// kubectl is the command to show: the one that make kubectl builds when the machine has none.
func kubectl() string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if info, err := os.Stat(filepath.Join(cmp.Or(dir, "."), "kubectl")); err == nil && info.Mode()&0o111 != 0 {
			return "kubectl"
		}
	}
	return "bin/kubectl"
}
