package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/apiserver"
)

// admission measures what decides about writes.
type admission struct {
	steps, controllers *prometheus.HistogramVec
	series             cache[decision, prometheus.Observer]
}

// decision is what one series is about; plugin is empty for all plugins together.
type decision struct {
	plugin    string
	mutating  bool
	operation apiserver.Operation
	rejected  bool
}

func newAdmission() admission {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_admission_" + name, Help: help, Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 2.5},
		}, labels)
	}
	return admission{
		steps: histogram("step_admission_duration_seconds",
			"Time that all plugins took to decide about a write, by what they were asked (admit, validate) and the operation.",
			"type", "operation", "rejected"),
		controllers: histogram("controller_admission_duration_seconds",
			"Time that a plugin took to decide about a write, by its name, what it was asked (admit, validate) and the operation.",
			"name", "type", "operation", "rejected"),
	}
}

func (a *admission) collectors() []prometheus.Collector {
	return []prometheus.Collector{a.steps, a.controllers}
}

// Admitted implements apiserver.Metrics.
func (a *admission) Admitted(plugin string, mutating bool, operation apiserver.Operation, took time.Duration, rejected bool) {
	d := decision{plugin, mutating, operation, rejected}
	a.series.get(d, a.make).Observe(took.Seconds())
}

func (a *admission) make(d decision) prometheus.Observer {
	step := "validate"
	if d.mutating {
		step = "admit"
	}
	if d.plugin == "" {
		return a.steps.WithLabelValues(step, string(d.operation), strconv.FormatBool(d.rejected))
	}
	return a.controllers.WithLabelValues(d.plugin, step, string(d.operation), strconv.FormatBool(d.rejected))
}
