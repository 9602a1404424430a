package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

type config struct {
	dir      string
	duration time.Duration
	rounds   int
	keys     int
	manyKeys int
}

// system is one of the two that are compared.
type system interface {
	put(ctx context.Context, key string, value []byte) error
	get(ctx context.Context, key string, linearizable bool) error
	// watch watches all keys. It gives start what delivers the changes until ctx ends; seen is told how many
	// came.
	watch(ctx context.Context, seen func(int), start func(func() error)) error
	// serve serves etcd's API and returns its address.
	serve() (string, error)
	close() error
}

// contender makes a fresh system in a directory of its own, with so many members.
type contender func(dir string, members int) (system, error)

// compared is one line of the table.
type compared struct {
	name    string
	members int  // 1 when 0
	grpc    bool // asked over TCP by etcd's client
	goal    float64
	// measure returns operations per second.
	measure func(ctx context.Context, cfg config, s system) (float64, error)
}

// row is the outcome of a line: the medians, in operations per second.
type row struct {
	name        string
	etcd, store float64
	ratio, goal float64
}

func (r row) String() string {
	return fmt.Sprintf("%-47s %10.0f/s %10.0f/s %7.1fx %7.1fx", r.name, r.etcd, r.store, r.ratio, r.goal)
}

// compare lets the two take turns. The ratio is the median of those of the rounds.
func compare(cfg config, c compared) (row, error) {
	var etcd, store, ratios []float64
	for range cfg.rounds {
		theirs, err := measureOne(cfg, c, openEtcd)
		if err != nil {
			return row{}, fmt.Errorf("etcd: %w", err)
		}
		ours, err := measureOne(cfg, c, openStore)
		if err != nil {
			return row{}, fmt.Errorf("store: %w", err)
		}
		etcd, store, ratios = append(etcd, theirs), append(store, ours), append(ratios, ours/theirs)
	}
	return row{name: c.name, etcd: median(etcd), store: median(store), ratio: median(ratios), goal: c.goal}, nil
}

func measureOne(cfg config, c compared, open contender) (perSecond float64, err error) {
	dir, err := os.MkdirTemp(cfg.dir, "compare-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	s, err := open(dir, max(c.members, 1))
	if err != nil {
		return 0, err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
		runtime.GC() // what this one leaves is not the other's to clean up
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !c.grpc {
		return c.measure(ctx, cfg, s)
	}
	over, err := dial(s)
	if err != nil {
		return 0, err
	}
	s = over // what is closed
	return c.measure(ctx, cfg, s)
}

func median(values []float64) float64 {
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
