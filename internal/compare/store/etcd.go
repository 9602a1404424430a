package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// etcd is an embedded etcd, asked in process through v3client.
type etcd struct {
	members []*embed.Etcd
	client  *clientv3.Client // of the leader
}

func openEtcd(dir string, members int) (system, error) {
	configs, err := etcdConfigs(dir, members)
	if err != nil {
		return nil, err
	}
	e := &etcd{members: make([]*embed.Etcd, members)}
	errs := make([]error, members)
	var wg sync.WaitGroup
	for i, cfg := range configs {
		wg.Go(func() { e.members[i], errs[i] = embed.StartEtcd(cfg) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, e.close())
	}
	for _, m := range e.members {
		select {
		case <-m.Server.ReadyNotify():
		case <-time.After(time.Minute):
			return nil, errors.Join(errors.New("etcd is not ready after a minute"), e.close())
		}
	}
	for _, m := range e.members {
		if m.Server.MemberID() == m.Server.Leader() {
			e.client = v3client.New(m.Server)
			return e, nil
		}
	}
	return nil, errors.Join(errors.New("etcd has no leader"), e.close())
}

// etcdConfigs leaves etcd's defaults as they are, but for a quota that is large enough and no log.
func etcdConfigs(dir string, members int) ([]*embed.Config, error) {
	var configs []*embed.Config
	var initial []string
	for i := range members {
		peer, err := freeURL()
		if err != nil {
			return nil, err
		}
		client, err := freeURL()
		if err != nil {
			return nil, err
		}
		cfg := embed.NewConfig()
		cfg.Name = fmt.Sprintf("m%d", i)
		cfg.Dir = filepath.Join(dir, cfg.Name)
		cfg.QuotaBackendBytes = 8 << 30
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		initial = append(initial, cfg.Name+"="+peer.String())
		configs = append(configs, cfg)
	}
	for _, cfg := range configs {
		cfg.InitialCluster = strings.Join(initial, ",")
	}
	return configs, nil
}

func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	return url.URL{Scheme: "http", Host: l.Addr().String()}, l.Close()
}

// serve returns the address that etcd serves anyway.
func (e *etcd) serve() (string, error) { return e.members[0].Clients[0].Addr().String(), nil }

func (e *etcd) put(ctx context.Context, key string, value []byte) error {
	_, err := e.client.Put(ctx, key, string(value))
	return err
}

func (e *etcd) get(ctx context.Context, key string, linearizable bool) error {
	var opts []clientv3.OpOption
	if !linearizable {
		opts = []clientv3.OpOption{clientv3.WithSerializable()}
	}
	res, err := e.client.Get(ctx, key, opts...)
	if err == nil && len(res.Kvs) != 1 {
		return fmt.Errorf("%d values of %s", len(res.Kvs), key)
	}
	return err
}

func (e *etcd) watch(ctx context.Context, seen func(int), start func(func() error)) error {
	ch := e.client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first, ok := <-ch; !ok || first.Err() != nil {
		return fmt.Errorf("etcd: watch: %w", first.Err())
	}
	start(func() error {
		for res := range ch {
			if err := res.Err(); err != nil {
				return err
			}
			seen(len(res.Events))
		}
		return ctx.Err()
	})
	return nil
}

func (e *etcd) close() error {
	if e.client != nil {
		_ = e.client.Close() // tells that its context has ended
	}
	for _, m := range e.members {
		if m != nil {
			m.Close()
		}
	}
	return nil
}
