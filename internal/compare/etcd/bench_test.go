package etcd

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
)

// The load is that of etcd's own benchmark tool: 1,000 clients on 100 connections, values of 256 bytes. Servers
// and clients share the process and its processors.
const (
	benchConns, benchClients = 100, 1000
	benchKeys                = 10_000
)

func BenchmarkPut(b *testing.B) {
	value := bytes.Repeat([]byte("v"), 256)
	compare(b, func(b *testing.B, kv pb.KVClient, i int64) error {
		_, err := kv.Put(b.Context(), &pb.PutRequest{Key: benchKey(i), Value: value})
		return err
	})
}

func BenchmarkRange(b *testing.B) {
	compare(b, func(b *testing.B, kv pb.KVClient, i int64) error {
		_, err := kv.Range(b.Context(), &pb.RangeRequest{Key: benchKey(i)})
		return err
	})
}

func BenchmarkRangeSerializable(b *testing.B) {
	compare(b, func(b *testing.B, kv pb.KVClient, i int64) error {
		_, err := kv.Range(b.Context(), &pb.RangeRequest{Key: benchKey(i), Serializable: true})
		return err
	})
}

func benchKey(i int64) []byte { return strconv.AppendInt([]byte("key/"), i*7919%benchKeys, 10) }

// compare puts the same load on a store in memory and on an etcd that does not fsync.
func compare(b *testing.B, call func(*testing.B, pb.KVClient, int64) error) {
	b.Run("store", func(b *testing.B) {
		addr, _ := startStore(b, store.Config{})
		load(b, addr, call)
	})
	b.Run("etcd", func(b *testing.B) { load(b, startEtcd(b), call) })
}

func load(b *testing.B, addr string, call func(*testing.B, pb.KVClient, int64) error) {
	clients := make([]pb.KVClient, benchConns)
	for i := range clients {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		clients[i] = pb.NewKVClient(conn)
	}
	for i := range benchKeys {
		r := &pb.PutRequest{Key: benchKey(int64(i)), Value: bytes.Repeat([]byte("v"), 256)}
		if _, err := clients[i%benchConns].Put(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for c := range benchClients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := call(b, clients[c%benchConns], i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
