package metrics_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/metrics"
	"github.com/inboard/inboard/store/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gather returns all values; that of a histogram is how much was observed.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func openMetrics(t *testing.T, cfg metrics.Config) *metrics.Metrics {
	t.Helper()
	m, err := metrics.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// Every event is counted.
func TestEvents(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := openMetrics(t, metrics.Config{Registerer: reg})
	s, r := m.StoreEvents(), m.RaftEvents()
	s.Applied(3, 7, time.Millisecond)
	s.Applied(1, 8, time.Millisecond)
	s.Proposed(5, 100, time.Millisecond, nil)
	s.Proposed(2, 50, time.Millisecond, store.ErrNoLeader)
	s.Proposed(1, 25, time.Millisecond, fmt.Errorf("%w: gone", store.ErrUnknownOutcome))
	s.Compacted(5)
	s.WatcherCutOff("a", "b")
	s.LeaseExpired(7)
	r.Leader("a")
	r.Leader("")
	r.Leader("b")
	r.Snapshot(1000, time.Second, nil)
	r.Snapshot(0, time.Second, errors.New("disk full"))
	want := map[string]float64{
		"inboard_store_applied_total": 4, "inboard_store_apply_seconds": 2,
		"inboard_store_proposals_total outcome=done": 5, "inboard_store_proposals_total outcome=failed": 2,
		"inboard_store_proposals_total outcome=unknown": 1, "inboard_store_proposed_bytes_total": 175,
		"inboard_store_proposal_seconds": 3, "inboard_store_compactions_total": 1,
		"inboard_store_watchers_cut_off_total": 1, "inboard_store_leases_expired_total": 1,
		"inboard_store_leader_changes_total": 2, "inboard_store_snapshot_seconds": 2,
		"inboard_store_snapshots_total outcome=done": 1, "inboard_store_snapshots_total outcome=failed": 1,
	}
	if got := gather(t, reg); !maps.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// Figures of the moment come from the store and its log, under the labels given.
func TestObserve(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := openMetrics(t, metrics.Config{Registerer: reg, Labels: prometheus.Labels{"store": "a"}})
	s, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	status := raft.Status{
		Leader: "x", Leading: true, Term: 3, LastIndex: 9, CommitIndex: 8, AppliedIndex: 7, LogBytes: 6,
		SnapshotBytes: 5, Members: make([]raft.Member, 4),
	}
	m.Observe(s, func() raft.Status { return status })
	if _, err := s.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut("key", []byte("value"))}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Watch(store.WatchConfig{Key: "key"}); err != nil {
		t.Fatal(err)
	}
	got := gather(t, reg)
	for name, want := range map[string]float64{
		"revision": 2, "oldest_revision": 1, "keys": 1, "leases": 0, "bytes": 8, "watchers": 1, "slow_watchers": 0,
		"has_leader": 1, "leading": 1, "learner": 0, "members": 4, "term": 3, "log_last_index": 9,
		"log_commit_index": 8, "log_applied_index": 7, "log_bytes": 6, "snapshot_bytes": 5,
	} {
		if value, ok := got["inboard_store_"+name+" store=a"]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	if got["inboard_store_history_bytes store=a"] <= 0 {
		t.Error("the history takes nothing")
	}
}

// Two stores share a registerer when labels tell them apart; what is closed is gone.
func TestRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	a := openMetrics(t, metrics.Config{Registerer: reg, Labels: prometheus.Labels{"store": "a"}})
	b := openMetrics(t, metrics.Config{Registerer: reg, Labels: prometheus.Labels{"store": "b"}})
	if _, err := metrics.Open(metrics.Config{Registerer: reg, Labels: prometheus.Labels{"store": "a"}}); err == nil {
		t.Error("registered twice")
	}
	if _, err := metrics.Open(metrics.Config{}); err == nil {
		t.Error("opened without a registerer")
	}
	for _, m := range []*metrics.Metrics{a, b} {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := a.Close(); err == nil {
		t.Error("closed twice")
	}
	if left := gather(t, reg); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}
