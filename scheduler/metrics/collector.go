package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/scheduler"
)

const prefix = "scheduler_"

// counters count what events tell.
type counters struct {
	attempts             *prometheus.CounterVec
	attemptTime, sli     *prometheus.HistogramVec
	algorithm            prometheus.Histogram
	podAttempts, victims prometheus.Histogram
	preemptions          prometheus.Counter
	incoming             *prometheus.CounterVec
	unschedulable        *prometheus.GaugeVec
	points               *prometheus.HistogramVec
}

func newCounters() counters {
	byResult := []string{"result", "profile"}
	return counters{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "schedule_attempts_total",
			Help: "Attempts to schedule a pod, by how they ended: scheduled, unschedulable, or error when something went wrong."}, byResult),
		attemptTime: prometheus.NewHistogramVec(histogram("scheduling_attempt_duration_seconds",
			"Time from taking a pod out of the queue until it was bound or put back.", 0.001, 15), byResult),
		algorithm: prometheus.NewHistogram(histogram("scheduling_algorithm_duration_seconds",
			"Time to choose a node for a pod, or to find that there is none.", 0.001, 15)),
		podAttempts: prometheus.NewHistogram(histogram("pod_scheduling_attempts", "Attempts that it took to bind a pod.", 1, 5)),
		sli: prometheus.NewHistogramVec(histogram("pod_scheduling_sli_duration_seconds",
			"Time from when a pod was first ready to be scheduled until it was bound, by the attempts that it took.", 0.01, 20), []string{"attempts"}),
		preemptions: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "preemption_attempts_total",
			Help: "Searches for pods to preempt."}),
		incoming: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "queue_incoming_pods_total",
			Help: "Pods that came into a part of the queue, by what moved them."}, []string{"queue", "event"}),
		unschedulable: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "unschedulable_pods",
			Help: "Pods that wait, by the plugins that keep them from a node; a pod counts for each of these."}, []string{"plugin", "profile"}),
		points: prometheus.NewHistogramVec(histogram("framework_extension_point_duration_seconds",
			"Time that the plugins of an extension point took for a pod.", 0.0001, 12), []string{"extension_point", "status", "profile"}),
		victims: prometheus.NewHistogram(histogram("preemption_victims", "Pods that had to go for one pod.", 1, 7)),
	}
}

// histogram has buckets that double, as all of kube-scheduler's that are here.
func histogram(name, help string, first float64, buckets int) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, buckets)}
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.attempts, c.attemptTime, c.algorithm, c.podAttempts, c.sli, c.preemptions, c.victims, c.incoming, c.unschedulable, c.points}
}

// gauge is a figure of the moment for each value of a label.
type gauge struct {
	desc   *prometheus.Desc
	values func(s *scheduler.Stats) map[string]int
}

var gauges = []gauge{
	{
		prometheus.NewDesc(prefix+"pending_pods", "Pods that wait for a node, by the part of the queue that they are in.", []string{"queue"}, nil),
		func(s *scheduler.Stats) map[string]int {
			return map[string]int{"active": s.Active, "backoff": s.Backoff, "unschedulable": s.Unschedulable, "gated": s.Gated}
		},
	},
	{
		prometheus.NewDesc(prefix+"cache_size", "What the scheduler decides on: nodes, pods on nodes, and those of them that are still being bound.", []string{"type"}, nil),
		func(s *scheduler.Stats) map[string]int {
			return map[string]int{"nodes": s.Nodes, "pods": s.Pods, "assumed_pods": s.Assumed}
		},
	},
	{
		prometheus.NewDesc(prefix+"goroutines", "Running goroutines, by what they do.", []string{"operation"}, nil),
		func(s *scheduler.Stats) map[string]int { return map[string]int{"binding": s.Binding} },
	},
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
	for _, g := range gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
	s := m.scheduler.Load()
	if s == nil {
		return
	}
	stats := s.Stats()
	for _, g := range gauges {
		for label, n := range g.values(&stats) {
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(n), label)
		}
	}
}
