package store_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

func openBench(b *testing.B, cfg store.Config) *store.Store {
	b.Helper()
	s, err := store.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func benchPut(b *testing.B, s *store.Store, key string, value []byte) {
	if _, err := s.Txn(b.Context(), store.Txn{Then: []store.Op{store.OpPut(key, value)}}); err != nil {
		b.Error(err)
	}
}

func benchKey(i int) string {
	return fmt.Sprintf("/registry/pods/namespace-%03d/pod-%06d", i%500, i)
}

func BenchmarkPut(b *testing.B) {
	s, value := openBench(b, store.Config{}), make([]byte, 256)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		benchPut(b, s, benchKey(i%100_000), value)
	}
}

func BenchmarkGet(b *testing.B) {
	s := openBench(b, store.Config{})
	for i := range 100_000 {
		benchPut(b, s, benchKey(i), make([]byte, 256))
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if e, _, err := s.Get(context.Background(), benchKey(i%100_000)); err != nil || e == nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRange reads one page of 500 out of 100,000 keys, with and without their count.
func BenchmarkRange(b *testing.B) {
	s := openBench(b, store.Config{})
	for i := range 100_000 {
		benchPut(b, s, benchKey(i), nil)
	}
	for _, skip := range []bool{false, true} {
		b.Run(fmt.Sprintf("skip=%v", skip), func(b *testing.B) {
			r := store.Range{Key: "/", End: store.PrefixEnd("/"), Limit: 500, SkipCount: skip}
			for b.Loop() {
				if res, err := s.Range(b.Context(), r); err != nil || len(res.Entries) != 500 {
					b.Fatal(len(res.Entries), err)
				}
			}
		})
	}
}

// BenchmarkWatch has 1,000 watchers, each waiting for all that is put.
func BenchmarkWatch(b *testing.B) {
	const watchers = 1000
	s := openBench(b, store.Config{})
	var seen atomic.Int64
	var wg sync.WaitGroup
	for range watchers {
		w, err := s.Watch(store.WatchConfig{End: store.PrefixEnd("")})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			for range b.N {
				if _, err := w.Next(context.Background()); err != nil {
					b.Error(err)
					return
				}
				seen.Add(1)
			}
		})
	}
	value := make([]byte, 256)
	b.ResetTimer()
	for i := range b.N {
		benchPut(b, s, benchKey(i), value)
		for int64(i+1)*watchers-seen.Load() > 5000*watchers { // stay within the history
			runtime.Gosched()
		}
	}
	wg.Wait()
	b.ReportMetric(float64(seen.Load())/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPutWatchedElsewhere has 1,000 watchers, none of which wants what is put.
func BenchmarkPutWatchedElsewhere(b *testing.B) {
	s := openBench(b, store.Config{})
	for i := range 1000 {
		prefix := fmt.Sprintf("/registry/pods/other-%03d/", i)
		if _, err := s.Watch(store.WatchConfig{Key: prefix, End: store.PrefixEnd(prefix)}); err != nil {
			b.Fatal(err)
		}
	}
	value := make([]byte, 256)
	for i := 0; b.Loop(); i++ {
		benchPut(b, s, benchKey(i%100_000), value)
	}
}

// BenchmarkMemory tells how much memory a key costs beside its own bytes and its value's.
func BenchmarkMemory(b *testing.B) {
	const keys = 200_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := openBench(b, store.Config{HistoryRevisions: 1})
		own := 0
		for i := range keys {
			key := benchKey(i)
			benchPut(b, s, key, make([]byte, 256))
			own += len(key) + 256
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int(after.HeapAlloc-before.HeapAlloc)-own)/keys, "B/key")
		runtime.KeepAlive(s)
	}
}

// BenchmarkPutLeased puts keys of 1,000 leases.
func BenchmarkPutLeased(b *testing.B) {
	s := openBench(b, store.Config{})
	for id := range 1000 {
		if _, err := s.Grant(b.Context(), store.LeaseID(id+1), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		op := store.OpPut(benchKey(i%100_000), make([]byte, 256))
		op.Lease = store.LeaseID(1 + i%999)
		if _, err := s.Txn(b.Context(), store.Txn{Then: []store.Op{op}}); err != nil {
			b.Fatal(err)
		}
	}
}
