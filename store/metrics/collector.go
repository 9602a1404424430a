package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
)

const prefix = "inboard_store_"

// counters count what events tell.
type counters struct {
	proposals, snapshots                        *prometheus.CounterVec
	applied, proposedBytes                      prometheus.Counter
	compactions, cutOff, expired, leaderChanges prometheus.Counter
	applyTime, proposalTime, snapshotTime       prometheus.Histogram
}

func newCounters() counters {
	return counters{
		proposals:     counterVec("proposals_total", "Transactions and other requests that were proposed here, by outcome."),
		snapshots:     counterVec("snapshots_total", "Snapshots of this node, by outcome."),
		applied:       counter("applied_total", "Transactions and other requests that were applied."),
		proposedBytes: counter("proposed_bytes_total", "Bytes of the commands that were proposed here."),
		compactions:   counter("compactions_total", "Compactions by command."),
		cutOff:        counter("watchers_cut_off_total", "Watchers that were too slow for the kept history."),
		expired:       counter("leases_expired_total", "Leases that this node, as the leader, found expired."),
		leaderChanges: counter("leader_changes_total", "New leaders that this node has heard of."),
		applyTime:     histogram("apply_seconds", "Time to apply a command."),
		proposalTime:  histogram("proposal_seconds", "Time from the proposal of a command until it was applied here."),
		snapshotTime:  histogram("snapshot_seconds", "Time to write a snapshot."),
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func counterVec(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{"outcome"})
}

// histogram has buckets from 20 microseconds to 10 seconds.
func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(20e-6, 2, 20),
	})
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{
		c.proposals, c.snapshots, c.applied, c.proposedBytes, c.compactions, c.cutOff, c.expired, c.leaderChanges,
		c.applyTime, c.proposalTime, c.snapshotTime,
	}
}

// gauge is a figure of the moment.
type gauge[T any] struct {
	desc  *prometheus.Desc
	value func(T) float64
}

func newGauge[T any](name, help string, value func(T) float64) gauge[T] {
	return gauge[T]{prometheus.NewDesc(prefix+name, help, nil, nil), value}
}

func storeGauges() []gauge[store.Stats] {
	g := newGauge[store.Stats]
	return []gauge[store.Stats]{
		g("revision", "The newest revision.", func(s store.Stats) float64 { return float64(s.Revision) }),
		g("oldest_revision", "The oldest revision that can be read.", func(s store.Stats) float64 { return float64(s.OldestRevision) }),
		g("keys", "Keys.", func(s store.Stats) float64 { return float64(s.Keys) }),
		g("leases", "Leases.", func(s store.Stats) float64 { return float64(s.Leases) }),
		g("bytes", "Bytes of all keys and values.", func(s store.Stats) float64 { return float64(s.Bytes) }),
		g("history_bytes", "About the memory that the kept past takes.", func(s store.Stats) float64 { return float64(s.HistoryBytes) }),
		g("watchers", "Watchers.", func(s store.Stats) float64 { return float64(s.Watchers) }),
		g("slow_watchers", "Watchers that are far behind.", func(s store.Stats) float64 { return float64(s.SlowWatchers) }),
	}
}

func raftGauges() []gauge[raft.Status] {
	g := newGauge[raft.Status]
	return []gauge[raft.Status]{
		g("has_leader", "Whether this node knows a leader.", func(s raft.Status) float64 { return truth(s.Leader != "") }),
		g("leading", "Whether this node is the leader.", func(s raft.Status) float64 { return truth(s.Leading) }),
		g("learner", "Whether this node has no vote.", func(s raft.Status) float64 { return truth(s.Learner) }),
		g("members", "Members of the cluster, learners too.", func(s raft.Status) float64 { return float64(len(s.Members)) }),
		g("term", "The leader's term.", func(s raft.Status) float64 { return float64(s.Term) }),
		g("log_last_index", "The last entry of the log.", func(s raft.Status) float64 { return float64(s.LastIndex) }),
		g("log_commit_index", "The last entry that is committed.", func(s raft.Status) float64 { return float64(s.CommitIndex) }),
		g("log_applied_index", "The last entry that is applied here.", func(s raft.Status) float64 { return float64(s.AppliedIndex) }),
		g("log_bytes", "What the log takes on the disk.", func(s raft.Status) float64 { return float64(s.LogBytes) }),
		g("snapshot_bytes", "What the newest snapshot takes on the disk.", func(s raft.Status) float64 { return float64(s.SnapshotBytes) }),
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
	for _, g := range storeGauges() {
		ch <- g.desc
	}
	for _, g := range raftGauges() {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
	from := m.source.Load()
	if from == nil {
		return
	}
	collect(ch, storeGauges(), from.stats())
	if from.status != nil {
		collect(ch, raftGauges(), from.status())
	}
}

func collect[T any](ch chan<- prometheus.Metric, gauges []gauge[T], of T) {
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(of))
	}
}
