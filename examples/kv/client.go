package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// clients are connections to the nodes' etcd APIs, that of node i at i-1.
type clients struct{ conns []*grpc.ClientConn }

func dialAll(o *options) (*clients, error) {
	c := &clients{}
	for i := 1; i <= o.nodes; i++ {
		conn, err := grpc.NewClient("passthrough:///"+o.etcdAddress(i), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *clients) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// leader asks the nodes until one says that it leads.
func (c *clients) leader(ctx context.Context, patience time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		for i, conn := range c.conns {
			call, stop := context.WithTimeout(ctx, time.Second)
			status, err := pb.NewMaintenanceClient(conn).Status(call, &pb.StatusRequest{})
			stop()
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				return i + 1, nil
			}
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, errors.New("the nodes found no leader")
		}
	}
}

// missing counts the keys that a node does not have in its own data, after it has caught up with the others.
func (c *clients) missing(ctx context.Context, node int, keys []string, patience time.Duration) (lost int, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kv := pb.NewKVClient(c.conns[node-1])
	// A linearizable read makes it catch up.
	if _, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("demo/")}, grpc.WaitForReady(true)); err != nil {
		return 0, 0, err
	}
	got, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("demo/"), RangeEnd: []byte("demo0"), KeysOnly: true, Serializable: true})
	if err != nil {
		return 0, 0, err
	}
	there := make(map[string]bool, len(got.Kvs))
	for _, kv := range got.Kvs {
		there[string(kv.Key)] = true
	}
	for _, key := range keys {
		if !there[key] {
			lost++
		}
	}
	return lost, got.Header.Revision, nil
}

// writers write keys of their own, one after the other, to any node that takes them.
type writers struct {
	clients *clients

	mu     sync.Mutex
	keys   []string
	wait   time.Duration
	failed error
}

func newWriters(c *clients) *writers { return &writers{clients: c} }

// write writes until ctx ends.
func (w *writers) write(ctx context.Context, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		key, from := fmt.Sprintf("demo/%03d/%08d", writer, n), time.Now()
		for try := writer; ctx.Err() == nil; try++ {
			call, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := pb.NewKVClient(w.clients.conns[try%len(w.clients.conns)]).Put(call, &pb.PutRequest{Key: []byte(key), Value: []byte(key)})
			cancel()
			if err == nil {
				w.note(key, time.Since(from))
				break
			}
			if time.Since(from) > demoPatience {
				w.fail(fmt.Errorf("no node takes a write: %w", err))
				return
			}
			_ = sleep(ctx, 20*time.Millisecond)
		}
	}
}

func (w *writers) note(key string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = append(w.keys, key)
	w.wait = max(w.wait, took)
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = errors.Join(w.failed, err)
}

func (w *writers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.keys)
}

func (w *writers) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wait
}

// acknowledged are the keys whose writes were, once the writers have stopped.
func (w *writers) acknowledged() []string { return w.keys }

// waitFor waits until so many writes are acknowledged.
func (w *writers) waitFor(ctx context.Context, n int, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for w.count() < n {
		if err := w.failure(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the nodes take no more writes")
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
