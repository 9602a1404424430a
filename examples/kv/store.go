package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/etcdapi/etcdraft"
	"github.com/inboard/inboard/store/raft"
)

// run runs what the options ask for until ctx ends or a part of it fails.
func run(ctx context.Context, o *options, out io.Writer) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "inboard-kv-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	// Made here once, before the nodes, which may be processes of their own, come to look for it.
	authority, err := pki.Load(filepath.Join(o.dir, "pki"), "inboard-kv")
	if err != nil {
		return err
	}
	if o.demo {
		return demo(ctx, o, out)
	}
	return serve(ctx, o, authority, out)
}

// serve runs the nodes of this process.
func serve(ctx context.Context, o *options, authority *pki.Authority, out io.Writer) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)
	for i := 1; i <= o.nodes; i++ {
		if o.only != 0 && i != o.only {
			continue
		}
		n, err := openNode(o, authority, i)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := n.run(ctx); err != nil {
				stop(err)
			}
		})
		fmt.Fprintf(out, "%s: etcd API on %s\n", nodeName(i), o.etcdAddress(i))
	}
	if o.only == 0 {
		fmt.Fprintf(out, "data in %s; try: etcdctl --endpoints %s endpoint status --cluster -w table\n", o.dir, o.etcdAddress(1))
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// node is one member with its etcd API.
type node struct {
	name     string
	raft     *raft.Node
	api      *etcdapi.Server
	listener net.Listener
}

func openNode(o *options, authority *pki.Authority, i int) (*node, error) {
	network, err := peerNetwork(o, authority, i)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.etcdAddress(i))
	if err != nil {
		return nil, fmt.Errorf("-etcd: %w", err)
	}
	cfg := raft.Config{Dir: filepath.Join(o.dir, nodeName(i)), ID: nodeName(i), Logger: o.logger()}
	cfg.Address, cfg.Network = o.peerAddress(i), network
	for m := 1; m <= o.nodes; m++ {
		cfg.Members = append(cfg.Members, raft.Member{ID: nodeName(m), Address: o.peerAddress(m)})
	}
	n, err := raft.Open(cfg)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("%s: %w", nodeName(i), err)
	}
	api, err := etcdapi.New(etcdapi.Config{
		Store: n.Store(), Cluster: etcdraft.Cluster(n), Logger: o.logger(),
		ClientURLs: func(member string) []string { return o.clientURLs(member) },
	})
	if err != nil {
		listener.Close()
		return nil, errors.Join(err, n.Close())
	}
	return &node{name: nodeName(i), raft: n, api: api, listener: listener}, nil
}

// clientURLs tells where a member serves the etcd API.
func (o *options) clientURLs(member string) []string {
	for i := 1; i <= o.nodes; i++ {
		if nodeName(i) == member {
			return []string{"http://" + o.etcdAddress(i)}
		}
	}
	return nil
}

// run serves the node's API until ctx ends, and closes the node.
func (n *node) run(ctx context.Context) error {
	err := errors.Join(n.api.Serve(ctx, n.listener), n.raft.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// peerNetwork is mutual TLS with a certificate of the store's own authority.
func peerNetwork(o *options, authority *pki.Authority, i int) (raft.Network, error) {
	host, _, err := net.SplitHostPort(o.peerAddress(i))
	if err != nil {
		return nil, err
	}
	pair, err := authority.Peer(host, nodeName(i))
	if err != nil {
		return nil, err
	}
	return raft.TLS(raft.TLSConfig{
		Certificate: func() (*tls.Certificate, error) { return &pair.TLS, nil },
		Authorities: func() (*x509.CertPool, error) { return authority.Pool(), nil },
		Logger:      o.logger(),
	})
}
