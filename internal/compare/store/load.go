package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const valueBytes = 256

// cases are the lines of the table, with what issue 3 asks for.
var cases = []compared{
	{name: "puts, 1,000 clients", goal: 4, measure: puts(1000)},
	{name: "puts, one client", goal: 1.2, measure: puts(1)},
	{name: "linearizable gets, 1,000 clients", goal: 5, measure: gets(1000, true)},
	{name: "serializable gets, 1,000 clients", goal: 20, measure: gets(1000, false)},
	{name: "watch deliveries, 1,000 watchers", goal: 5, measure: deliveries(1000)},
	{name: "puts over gRPC, 1,000 clients", grpc: true, goal: 1, measure: puts(1000)},
	{name: "linearizable gets over gRPC, 1,000 clients", grpc: true, goal: 1, measure: gets(1000, true)},
	{name: "three nodes: puts, 1,000 clients", members: 3, goal: 1, measure: puts(1000)},
	{name: "three nodes: puts, one client", members: 3, goal: 1, measure: puts(1)},
	{name: "three nodes: linearizable gets, 1,000 clients", members: 3, goal: 1, measure: gets(1000, true)},
}

type measurement = func(ctx context.Context, cfg config, s system) (float64, error)

// key is a key such as Kubernetes has.
func key(i int) string { return fmt.Sprintf("/registry/pods/namespace-%03d/pod-%06d", i%100, i) }

func keys(cfg config) []string {
	list := make([]string, cfg.keys)
	for i := range list {
		list[i] = key(i)
	}
	return list
}

// clients calls f from so many goroutines until the time is over, and returns how often per second.
func clients(cfg config, count int, f func(r *rand.Rand) error) (float64, error) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	done, errs := make([]int, count), make([]error, count)
	start := time.Now()
	for c := range count {
		wg.Go(func() {
			r, n := rand.New(rand.NewPCG(1, uint64(c))), 0
			for errs[c] == nil && !stop.Load() {
				errs[c] = f(r)
				n++
			}
			done[c] = n
		})
	}
	time.Sleep(cfg.duration)
	stop.Store(true)
	wg.Wait()
	took, sum := time.Since(start), 0
	for c := range count {
		if errs[c] != nil {
			return 0, errs[c]
		}
		sum += done[c]
	}
	return float64(sum) / took.Seconds(), nil
}

// value is a new value each time, as a client's own would be.
func value(r *rand.Rand) []byte {
	b := make([]byte, valueBytes)
	for i := 0; i < len(b); i += 8 {
		b[i] = byte(r.Uint32())
	}
	return b
}

// fill puts all keys once.
func fill(ctx context.Context, keys []string, s system) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, 1)
	for c := range 100 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(c)))
			for i := next.Add(1) - 1; i < int64(len(keys)); i = next.Add(1) - 1 {
				if err := s.put(ctx, keys[i], value(r)); err != nil {
					select {
					case errs <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func puts(count int) measurement {
	return func(ctx context.Context, cfg config, s system) (float64, error) {
		list := keys(cfg)
		if err := fill(ctx, list, s); err != nil {
			return 0, err
		}
		return clients(cfg, count, func(r *rand.Rand) error {
			return s.put(ctx, list[r.IntN(len(list))], value(r))
		})
	}
}

func gets(count int, linearizable bool) measurement {
	return func(ctx context.Context, cfg config, s system) (float64, error) {
		list := keys(cfg)
		if err := fill(ctx, list, s); err != nil {
			return 0, err
		}
		return clients(cfg, count, func(r *rand.Rand) error {
			return s.get(ctx, list[r.IntN(len(list))], linearizable)
		})
	}
}

// deliveries puts 100 keys at a time and waits until each watcher has seen all of them.
func deliveries(watchers int) measurement {
	const burst = 100
	return func(ctx context.Context, cfg config, s system) (float64, error) {
		var seen atomic.Int64
		all := make(chan struct{}, 1)
		var want atomic.Int64
		count := func(n int) {
			if seen.Add(int64(n)) == want.Load() {
				all <- struct{}{}
			}
		}
		errs := make(chan error, watchers)
		// Nobody waits for the watches to end: those of etcd may only do so when it is closed.
		start := func(deliver func() error) {
			go func() {
				if err := deliver(); err != nil && ctx.Err() == nil {
					errs <- err
				}
			}()
		}
		for range watchers {
			if err := s.watch(ctx, count, start); err != nil {
				return 0, err
			}
		}
		list := keys(cfg)
		began := time.Now()
		for time.Since(began) < cfg.duration {
			want.Add(burst * int64(watchers))
			at := rand.IntN(len(list))
			if err := fill(ctx, slicesFrom(list, at, burst), s); err != nil {
				return 0, err
			}
			select {
			case <-all:
			case err := <-errs:
				return 0, err
			}
		}
		return float64(seen.Load()) / time.Since(began).Seconds(), nil
	}
}

// slicesFrom returns n elements from at on, round and round.
func slicesFrom(list []string, at, n int) []string {
	some := make([]string, n)
	for i := range some {
		some[i] = list[(at+i)%len(list)]
	}
	return some
}
