package raft_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	hraft "github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		n, err := raft.Open(raft.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		n.Close()
		b.StartTimer()
	}
}

func BenchmarkReopen(b *testing.B) {
	for _, keys := range []int{0, 100_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			cfg := raft.Config{Dir: b.TempDir(), SnapshotEntries: 1}
			n, err := raft.Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			clients(b, 200, keys, func(i int) error { return benchPut(b, n.Store(), i) })
			if err := n.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n, err := raft.Open(cfg)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				n.Close()
				b.StartTimer()
			}
		})
	}
}

// clients calls f n times from so many goroutines.
func clients(b *testing.B, count, n int, f func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range count {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := f(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var benchValue = make([]byte, 256)

func benchPut(b *testing.B, s *store.Store, i int) error {
	key := fmt.Sprintf("key-%08d", i%100_000)
	_, err := s.Txn(b.Context(), store.Txn{Then: []store.Op{store.OpPut(key, benchValue)}})
	return err
}

func BenchmarkPut(b *testing.B) {
	for _, count := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			s := open(b, raft.Config{Dir: b.TempDir()}).Store()
			b.ResetTimer()
			clients(b, count, b.N, func(i int) error { return benchPut(b, s, i) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

type noFSM struct{}

func (noFSM) Apply(*hraft.Log) any                 { return nil }
func (noFSM) Snapshot() (hraft.FSMSnapshot, error) { return nil, io.EOF }
func (noFSM) Restore(io.ReadCloser) error          { return nil }
func (noFSM) ApplyBatch(logs []*hraft.Log) []any   { return make([]any, len(logs)) }

// BenchmarkBareRaft is raft and its log alone, one entry for each put and no state: what BenchmarkPut
// stands on.
func BenchmarkBareRaft(b *testing.B) {
	for _, count := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var meta metadb.BoltMetaDB
			log, err := wal.Open(b.TempDir(), wal.WithMetaStore(&meta))
			if err != nil {
				b.Fatal(err)
			}
			defer meta.Close()
			defer log.Close()
			cfg := hraft.DefaultConfig()
			cfg.LocalID, cfg.LogOutput = "a", io.Discard
			address, transport := hraft.NewInmemTransport("a")
			snapshots := hraft.NewDiscardSnapshotStore()
			voters := hraft.Configuration{Servers: []hraft.Server{{ID: "a", Address: address}}}
			if err := hraft.BootstrapCluster(cfg, log, log, snapshots, transport, voters); err != nil {
				b.Fatal(err)
			}
			r, err := hraft.NewRaft(cfg, noFSM{}, log, log, snapshots, transport)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = r.Shutdown().Error() }()
			<-r.LeaderCh()
			b.ResetTimer()
			clients(b, count, b.N, func(int) error { return r.Apply(make([]byte, 300), 0).Error() })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
