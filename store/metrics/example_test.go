package metrics_test

import (
	"context"
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/metrics"
)

// The metrics come first, since the store is opened with their events. A store that is a node of package raft
// has m.RaftEvents() in its configuration as well, and its Status is what Observe gets besides the store.
func Example() {
	reg := prometheus.NewRegistry()
	m, err := metrics.Open(metrics.Config{Registerer: reg})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := store.Open(store.Config{Events: m.StoreEvents()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	m.Observe(s, nil)
	put := store.Txn{Then: []store.Op{store.OpPut("key", []byte("value"))}}
	if _, err := s.Txn(context.Background(), put); err != nil {
		log.Fatal(err)
	}

	families, err := reg.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "inboard_store_keys", "inboard_store_revision":
			fmt.Println(f.GetName(), f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output:
	// inboard_store_keys 1
	// inboard_store_revision 2
}
