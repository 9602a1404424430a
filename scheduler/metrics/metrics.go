// Package metrics gives a scheduler's figures to Prometheus, under kube-scheduler's names and with its types,
// labels and buckets, so that dashboards and alerts made for it work. Metrics that would not mean the same here
// are left out. Nothing is global: the registerer is the caller's, and Close takes back what Open registered.
package metrics

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/scheduler"
)

// Config configures the metrics of one scheduler; zero values mean defaults.
type Config struct {
	// Registerer is what the metrics are registered with. Required.
	Registerer prometheus.Registerer
	// Labels go on every metric; they tell the schedulers of one registerer apart. kube-scheduler has none.
	Labels prometheus.Labels
}

// Metrics are the metrics of one scheduler. All names begin with scheduler_; times are in seconds.
type Metrics struct {
	registerer prometheus.Registerer
	counters
	scheduler atomic.Pointer[scheduler.Scheduler]
}

// Open registers the metrics. It fails when the registerer has such metrics already, with the same labels.
func Open(cfg Config) (*Metrics, error) {
	if cfg.Registerer == nil {
		return nil, errors.New("metrics: Config.Registerer is nil")
	}
	m := &Metrics{registerer: prometheus.WrapRegistererWith(cfg.Labels, cfg.Registerer), counters: newCounters()}
	if err := m.registerer.Register(m); err != nil {
		return nil, err
	}
	return m, nil
}

// Close takes the metrics back from the registerer.
func (m *Metrics) Close() error {
	m.scheduler.Store(nil)
	if !m.registerer.Unregister(m) {
		return errors.New("metrics: closed already")
	}
	return nil
}

// Observe makes the scheduler's figures of the moment part of the metrics. Another scheduler, such as the one made
// after leadership was lost, takes the place of the last one.
func (m *Metrics) Observe(s *scheduler.Scheduler) { m.scheduler.Store(s) }

// Events are the functions for scheduler.Config.Events.
func (m *Metrics) Events() scheduler.Events {
	return scheduler.Events{
		Attempted: m.attempted,
		Placed:    func(took time.Duration) { m.algorithm.Observe(took.Seconds()) },

		PreemptionAttempted: func() { m.preemptions.Inc() },
		Preempting:          func(victims int) { m.victims.Observe(float64(victims)) },

		Enqueued: func(part, cause string) { m.incoming.WithLabelValues(part, cause).Inc() },
		Unschedulable: func(plugin, schedulerName string, change int) {
			m.unschedulable.WithLabelValues(plugin, schedulerName).Add(float64(change))
		},
		Ran: func(p scheduler.ExtensionPoint) {
			m.points.WithLabelValues(p.Name, p.Status, p.SchedulerName).Observe(p.Took.Seconds())
		},
	}
}

func (m *Metrics) attempted(a scheduler.Attempt) {
	m.attempts.WithLabelValues(string(a.Result), a.SchedulerName).Inc()
	m.attemptTime.WithLabelValues(string(a.Result), a.SchedulerName).Observe(a.Took.Seconds())
	if a.Result == scheduler.AttemptScheduled {
		m.podAttempts.Observe(float64(a.Number))
		m.sli.WithLabelValues(attemptsLabel(a.Number)).Observe(a.Queued.Seconds())
	}
}

// attemptsLabel keeps the values of the label few.
func attemptsLabel(n int) string {
	const most = 15
	if n >= most {
		return strconv.Itoa(most) + "+"
	}
	return strconv.Itoa(n)
}
