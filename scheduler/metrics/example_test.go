package metrics_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/scheduler/metrics"
	"github.com/inboard/inboard/store"
)

// The metrics come first, since the scheduler is made with their events. A program serves the registry with
// promhttp.HandlerFor.
func Example() {
	reg := prometheus.NewRegistry()
	m := must(metrics.Open(metrics.Config{Registerer: reg}))
	defer m.Close()
	st := must(store.Open(store.Config{}))
	defer st.Close()
	api := must(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()}))
	s := must(scheduler.New(scheduler.Config{
		Client: api.Client(apiserver.Identity{User: "system:kube-scheduler"}),
		Events: m.Events(),
	}))
	m.Observe(s)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = api.Run(ctx) })
	running.Go(func() { _ = s.Run(ctx) })
	<-s.Ready()

	for _, f := range must(reg.Gather()) {
		if f.GetName() == "scheduler_pending_pods" {
			for _, series := range f.GetMetric() {
				fmt.Println(f.GetName(), series.GetLabel()[0].GetValue(), series.GetGauge().GetValue())
			}
		}
	}
	cancel()
	running.Wait()
	// Output:
	// scheduler_pending_pods active 0
	// scheduler_pending_pods backoff 0
	// scheduler_pending_pods gated 0
	// scheduler_pending_pods unschedulable 0
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
