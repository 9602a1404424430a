package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
	"github.com/inboard/inboard/store/raft"
)

// inboard is a store of this project.
type inboard struct {
	nodes []*raft.Node
	store *store.Store // of the leader
	stop  func() error // of the etcd API's server, nil when there is none
}

func openStore(dir string, members int) (system, error) {
	if members == 1 {
		n, err := raft.Open(raft.Config{Dir: filepath.Join(dir, "store")})
		if err != nil {
			return nil, err
		}
		return &inboard{nodes: []*raft.Node{n}, store: n.Store()}, nil
	}
	s := &inboard{}
	configs, err := storeConfigs(dir, members)
	if err != nil {
		return nil, err
	}
	for _, cfg := range configs {
		n, err := raft.Open(cfg)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.nodes = append(s.nodes, n)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, n := range s.nodes {
			if n.Status().Leading {
				s.store = n.Store()
				return s, nil
			}
		}
	}
	return nil, errors.Join(errors.New("the store has no leader"), s.close())
}

func storeConfigs(dir string, members int) ([]raft.Config, error) {
	var list []raft.Member
	for i := range members {
		url, err := freeURL()
		if err != nil {
			return nil, err
		}
		list = append(list, raft.Member{ID: fmt.Sprintf("m%d", i), Address: url.Host})
	}
	var configs []raft.Config
	for _, m := range list {
		configs = append(configs, raft.Config{
			Dir: filepath.Join(dir, m.ID), ID: m.ID, Address: m.Address, Members: list, Network: plainNetwork{},
		})
	}
	return configs, nil
}

// plainNetwork is TCP without TLS, as the etcd beside it has.
type plainNetwork struct{}

func (plainNetwork) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (plainNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// serve serves the etcd API and returns its address.
func (s *inboard) serve() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server, err := etcdapi.New(etcdapi.Config{Store: s.store})
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	s.stop = func() error {
		cancel()
		return <-served
	}
	return l.Addr().String(), nil
}

func (s *inboard) put(ctx context.Context, key string, value []byte) error {
	_, err := s.store.Txn(ctx, store.Txn{Then: []store.Op{store.OpPut(key, value)}})
	return err
}

func (s *inboard) get(ctx context.Context, key string, linearizable bool) error {
	res, err := s.store.Range(ctx, store.Range{Key: key, Linearizable: linearizable})
	if err == nil && len(res.Entries) != 1 {
		return fmt.Errorf("%d values of %s", len(res.Entries), key)
	}
	return err
}

func (s *inboard) watch(ctx context.Context, seen func(int), start func(func() error)) error {
	w, err := s.store.Watch(store.WatchConfig{End: store.PrefixEnd("")})
	if err != nil {
		return err
	}
	start(func() error {
		defer w.Close()
		for {
			b, err := w.Next(ctx)
			if err != nil {
				return err
			}
			seen(len(b.Events))
		}
	})
	return nil
}

func (s *inboard) close() error {
	var errs []error
	if s.stop != nil {
		errs = append(errs, s.stop())
	}
	for _, n := range s.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}
