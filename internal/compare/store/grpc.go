package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// conns is how many connections the clients share, as in etcd's own benchmarks of 1,000 clients.
const conns = 100

// overGRPC is a system that is asked over TCP by etcd's official client. Server and clients share the process and
// its processors.
type overGRPC struct {
	system
	clients []*clientv3.Client
}

func dial(s system) (system, error) {
	address, err := s.serve()
	if err != nil {
		return nil, err
	}
	g := &overGRPC{system: s}
	for range conns {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
		if err != nil {
			return nil, err
		}
		g.clients = append(g.clients, c)
	}
	return g, nil
}

func (g *overGRPC) client() *clientv3.Client { return g.clients[rand.IntN(len(g.clients))] }

func (g *overGRPC) put(ctx context.Context, key string, value []byte) error {
	_, err := g.client().Put(ctx, key, string(value))
	return err
}

func (g *overGRPC) get(ctx context.Context, key string, linearizable bool) error {
	var opts []clientv3.OpOption
	if !linearizable {
		opts = []clientv3.OpOption{clientv3.WithSerializable()}
	}
	res, err := g.client().Get(ctx, key, opts...)
	if err == nil && len(res.Kvs) != 1 {
		return fmt.Errorf("%d values of %s", len(res.Kvs), key)
	}
	return err
}

func (g *overGRPC) close() error {
	for _, c := range g.clients {
		_ = c.Close()
	}
	return g.system.close()
}
