package metrics_test

import (
	"fmt"
	"log"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/scheduler/metrics"
)

// The metrics come first, since the scheduler is made with their events.
func Example() {
	reg := prometheus.NewRegistry()
	m, err := metrics.Open(metrics.Config{Registerer: reg})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	// A program hands its scheduler.Config these events, calls Observe with the scheduler, and serves reg. Here
	// one attempt is told by hand.
	cfg := scheduler.Config{Events: m.Events()}
	cfg.Events.Attempted(scheduler.Attempt{
		SchedulerName: scheduler.DefaultSchedulerName, Result: scheduler.AttemptScheduled, Number: 1, Took: time.Millisecond,
	})

	families, err := reg.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "scheduler_schedule_attempts_total" {
			fmt.Println(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	// Output: 1
}
