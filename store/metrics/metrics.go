// Package metrics gives a store's figures to Prometheus: what its events tell, counted, and what its Stats and
// Status say when they are asked for. Nothing is global: the registerer is the caller's, and Close takes back
// what Open registered.
package metrics

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

// Config configures the metrics of one store; zero values mean defaults.
type Config struct {
	// Registerer is what the metrics are registered with. Required.
	Registerer prometheus.Registerer
	// Labels go on every metric; they tell the stores of one registerer apart.
	Labels prometheus.Labels
}

// Metrics are the metrics of one store. All names begin with inboard_store_; times are in seconds, sizes in
// bytes.
type Metrics struct {
	registerer prometheus.Registerer
	counters
	source atomic.Pointer[source]
}

// source is where figures of the moment come from.
type source struct {
	stats  func() store.Stats
	status func() raft.Status // may be nil
}

// Open registers the metrics. It fails when the registerer has such metrics already, with the same labels.
func Open(cfg Config) (*Metrics, error) {
	if cfg.Registerer == nil {
		return nil, errors.New("metrics: Config.Registerer is nil")
	}
	m := &Metrics{registerer: prometheus.WrapRegistererWith(cfg.Labels, cfg.Registerer), counters: newCounters()}
	return m, m.registerer.Register(m)
}

// Close takes the metrics back from the registerer.
func (m *Metrics) Close() error {
	m.source.Store(nil)
	if !m.registerer.Unregister(m) {
		return errors.New("metrics: closed already")
	}
	return nil
}

// Observe makes the store's figures of the moment part of the metrics, and with status, which may be nil, those
// of its log.
func (m *Metrics) Observe(s *store.Store, status func() raft.Status) {
	m.source.Store(&source{stats: s.Stats, status: status})
}

// StoreEvents are the functions for store.Config.Events.
func (m *Metrics) StoreEvents() store.Events {
	return store.Events{
		Applied: func(requests int, _ int64, took time.Duration) {
			m.applied.Add(float64(requests))
			m.applyTime.Observe(took.Seconds())
		},
		Proposed: func(requests, bytes int, took time.Duration, err error) {
			m.proposals.WithLabelValues(outcome(err)).Add(float64(requests))
			m.proposedBytes.Add(float64(bytes))
			m.proposalTime.Observe(took.Seconds())
		},
		Compacted:     func(int64) { m.compactions.Inc() },
		WatcherCutOff: func(string, string) { m.cutOff.Inc() },
		LeaseExpired:  func(store.LeaseID) { m.expired.Inc() },
	}
}

// RaftEvents are the functions for raft.Config.Events.
func (m *Metrics) RaftEvents() raft.Events {
	return raft.Events{
		Leader: func(id string) {
			if id != "" {
				m.leaderChanges.Inc()
			}
		},
		Snapshot: func(_ int64, took time.Duration, err error) {
			m.snapshots.WithLabelValues(outcome(err)).Inc()
			m.snapshotTime.Observe(took.Seconds())
		},
	}
}

// outcome is the value of the label of that name.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, store.ErrUnknownOutcome):
		return "unknown"
	}
	return "failed"
}
