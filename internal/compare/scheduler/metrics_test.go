package scheduler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	kubemetrics "k8s.io/kubernetes/pkg/scheduler/metrics"

	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/scheduler/metrics"
)

// shapes tells of each series its name, type, labels and buckets.
func shapes(t *testing.T, g prometheus.Gatherer) (out []string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out = append(out, fmt.Sprint(f.GetName(), " ", f.GetType(), " ", labels(m), " ", buckets(m)))
		}
	}
	slices.Sort(out)
	return out
}

func labels(m *dto.Metric) (out []string) {
	for _, l := range m.GetLabel() {
		out = append(out, l.GetName()+"="+l.GetValue())
	}
	return out
}

func buckets(m *dto.Metric) (out []float64) {
	for _, b := range m.GetHistogram().GetBucket() {
		out = append(out, b.GetUpperBound())
	}
	return out
}

// TestSameMetrics: each series is one of kube-scheduler's, with its type, labels and buckets.
func TestSameMetrics(t *testing.T) {
	kubemetrics.Register()
	for _, f := range []func(string, float64){kubemetrics.PodScheduled, kubemetrics.PodUnschedulable, kubemetrics.PodScheduleError} {
		f("default-scheduler", 1)
	}
	for _, attempts := range []string{"1", "14", "15+"} {
		kubemetrics.PodSchedulingSLIDuration.WithLabelValues(attempts).Observe(1)
	}
	for _, what := range []string{"nodes", "pods", "assumed_pods"} {
		kubemetrics.CacheSize.WithLabelValues(what).Set(1)
	}
	kubemetrics.Goroutines.WithLabelValues(kubemetrics.Binding).Set(1)
	kubemetrics.ActivePods().Set(1)
	kubemetrics.BackoffPods().Set(1)
	kubemetrics.UnschedulablePods().Set(1)
	kubemetrics.GatedPods().Set(1)
	kubemetrics.SchedulerQueueIncomingPods.WithLabelValues("active", "UnscheduledPodAdd").Inc()
	kubemetrics.UnschedulableReason("NodePorts", "default-scheduler").Inc()
	points := []string{kubemetrics.PreFilter, kubemetrics.Filter, kubemetrics.PostFilter, kubemetrics.PodGroupPostFilter,
		kubemetrics.PreScore, kubemetrics.Score, kubemetrics.Reserve, kubemetrics.Permit}
	for _, p := range points {
		kubemetrics.FrameworkExtensionPointDuration.WithLabelValues(p, "Success", "default-scheduler").Observe(1)
	}

	reg := prometheus.NewRegistry()
	m, err := metrics.Open(metrics.Config{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ev := m.Events()
	for _, r := range []scheduler.AttemptResult{scheduler.AttemptScheduled, scheduler.AttemptUnschedulable, scheduler.AttemptError} {
		for _, n := range []int{1, 14, 15, 16} {
			ev.Attempted(scheduler.Attempt{SchedulerName: scheduler.DefaultSchedulerName, Result: r, Number: n, Took: time.Second, Queued: time.Second})
		}
	}
	ev.Enqueued("active", "UnscheduledPodAdd")
	ev.Unschedulable("NodePorts", scheduler.DefaultSchedulerName, 1)
	for _, p := range points {
		ev.Ran(scheduler.ExtensionPoint{Name: p, Status: "Success", SchedulerName: scheduler.DefaultSchedulerName, Took: time.Second})
	}
	s, err := scheduler.New(scheduler.Config{Client: apitest.Open(t).Admin(), Events: ev})
	if err != nil {
		t.Fatal(err)
	}
	m.Observe(s)

	theirs := shapes(t, legacyregistry.DefaultGatherer)
	ours := shapes(t, reg)
	for _, series := range ours {
		if !slices.Contains(theirs, series) {
			t.Errorf("kube-scheduler has no %s", series)
		}
	}
	if len(ours) < 20 {
		t.Errorf("only %d series were compared", len(ours))
	}
	t.Logf("%d series are the same", len(ours))
}
