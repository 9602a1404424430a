package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/apiserver/flowcontrol"
)

// flows shows what flow control does, under kube-apiserver's names.
type flows struct {
	c                    *flowcontrol.Controller
	waits, runs          *prometheus.HistogramVec
	seats                *prometheus.HistogramVec
	waited, ran, decided cache[flowKey, prometheus.Observer]
}

// flowKey tells series apart; which is the last label, if there is one.
type flowKey struct{ level, schema, which string }

const flowPrefix = "apiserver_flowcontrol_"

// figure is a gauge or counter of a level, or of a schema at a level.
type figure[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *T) float64
}

func levelFigure(name, help string, value func(s *flowcontrol.LevelStats) float64) figure[flowcontrol.LevelStats] {
	return figure[flowcontrol.LevelStats]{prometheus.NewDesc(flowPrefix+name, help, []string{"priority_level"}, nil), prometheus.GaugeValue, value}
}

func schemaFigure(name, help string, kind prometheus.ValueType, value func(s *flowcontrol.SchemaStats) float64) figure[flowcontrol.SchemaStats] {
	return figure[flowcontrol.SchemaStats]{prometheus.NewDesc(flowPrefix+name, help, []string{"priority_level", "flow_schema"}, nil), kind, value}
}

var levelFigures = []figure[flowcontrol.LevelStats]{
	levelFigure("nominal_limit_seats", "Seats that a level is due by its share.",
		func(s *flowcontrol.LevelStats) float64 { return float64(s.Nominal) }),
	levelFigure("lower_limit_seats", "Seats that a level keeps when it lends all that it may.",
		func(s *flowcontrol.LevelStats) float64 { return float64(s.Lower) }),
	levelFigure("upper_limit_seats", "Seats that a level has when it borrows all that it may.",
		func(s *flowcontrol.LevelStats) float64 { return float64(s.Upper) }),
	levelFigure("current_limit_seats", "Seats that a level has for now.",
		func(s *flowcontrol.LevelStats) float64 { return float64(s.Current) }),
	levelFigure("target_seats", "Seats that a level would like to have.",
		func(s *flowcontrol.LevelStats) float64 { return s.Target }),
	levelFigure("demand_seats_high_watermark", "Most seats that were asked for at once in the last adjustment period.",
		func(s *flowcontrol.LevelStats) float64 { return s.HighDemand }),
	levelFigure("demand_seats_average", "Average over time of seats that were asked for in the last adjustment period.",
		func(s *flowcontrol.LevelStats) float64 { return s.AverageDemand }),
	levelFigure("demand_seats_stdev", "Standard deviation over time of seats that were asked for in the last adjustment period.",
		func(s *flowcontrol.LevelStats) float64 { return s.DemandDeviation }),
	levelFigure("demand_seats_smoothed", "Seats that were asked for, where peaks are forgotten slowly.",
		func(s *flowcontrol.LevelStats) float64 { return s.SmoothedDemand }),
}

var schemaFigures = []figure[flowcontrol.SchemaStats]{
	schemaFigure("dispatched_requests_total", "Requests that were let run.", prometheus.CounterValue,
		func(s *flowcontrol.SchemaStats) float64 { return float64(s.Dispatched) }),
	schemaFigure("current_inqueue_requests", "Requests that wait.", prometheus.GaugeValue,
		func(s *flowcontrol.SchemaStats) float64 { return float64(s.Waiting) }),
	schemaFigure("current_inqueue_seats", "Seats of requests that wait.", prometheus.GaugeValue,
		func(s *flowcontrol.SchemaStats) float64 { return float64(s.SeatsWaiting) }),
	schemaFigure("current_executing_requests", "Requests that run; a watch, until it has sent what there was.", prometheus.GaugeValue,
		func(s *flowcontrol.SchemaStats) float64 { return float64(s.Executing) }),
	schemaFigure("current_executing_seats", "Seats in use, also by what goes on after a request's end.", prometheus.GaugeValue,
		func(s *flowcontrol.SchemaStats) float64 { return float64(s.SeatsInUse) }),
}

var (
	rejectedDesc = prometheus.NewDesc(flowPrefix+"rejected_requests_total",
		"Requests that were refused, by why.", []string{"priority_level", "flow_schema", "reason"}, nil)
	fairDesc = prometheus.NewDesc(flowPrefix+"seat_fair_frac",
		"The part of their target that all levels have, as far as their bounds let them.", nil, nil)
)

func newFlows(c *flowcontrol.Controller) *flows {
	durations := []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: flowPrefix + name, Help: help, Buckets: buckets},
			append([]string{"priority_level", "flow_schema"}, more...))
	}
	f := &flows{
		c:     c,
		waits: histogram("request_wait_duration_seconds", "Time that requests waited in a queue, by whether they ran in the end.", durations, "execute"),
		runs:  histogram("request_execution_seconds", "Time that requests ran; of watches, until they had sent what there was.", durations, "type"),
		seats: histogram("work_estimated_seats", "Seats that requests were taken to need.", []float64{1, 2, 4, 8, 16, 32, 64, 100}),
	}
	c.Observe(flowcontrol.Events{Waited: f.waitedFor, Ran: f.ranFor, Estimated: f.estimated})
	return f
}

func (f *flows) waitedFor(level, schema string, took time.Duration, ran bool) {
	which := "false"
	if ran {
		which = "true"
	}
	f.waited.get(flowKey{level, schema, which}, func(k flowKey) prometheus.Observer {
		return f.waits.WithLabelValues(k.level, k.schema, k.which)
	}).Observe(took.Seconds())
}

func (f *flows) ranFor(level, schema string, watch bool, took time.Duration) {
	which := "regular"
	if watch {
		which = "watch"
	}
	f.ran.get(flowKey{level, schema, which}, func(k flowKey) prometheus.Observer {
		return f.runs.WithLabelValues(k.level, k.schema, k.which)
	}).Observe(took.Seconds())
}

func (f *flows) estimated(level, schema string, seats int) {
	f.decided.get(flowKey{level, schema, ""}, func(k flowKey) prometheus.Observer {
		return f.seats.WithLabelValues(k.level, k.schema)
	}).Observe(float64(seats))
}

// Describe implements prometheus.Collector.
func (f *flows) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range []*prometheus.HistogramVec{f.waits, f.runs, f.seats} {
		v.Describe(ch)
	}
	for _, g := range levelFigures {
		ch <- g.desc
	}
	for _, g := range schemaFigures {
		ch <- g.desc
	}
	ch <- rejectedDesc
	ch <- fairDesc
}

// Collect implements prometheus.Collector.
func (f *flows) Collect(ch chan<- prometheus.Metric) {
	for _, v := range []*prometheus.HistogramVec{f.waits, f.runs, f.seats} {
		v.Collect(ch)
	}
	s := f.c.Stats()
	ch <- prometheus.MustNewConstMetric(fairDesc, prometheus.GaugeValue, s.FairFraction)
	for i := range s.Levels {
		for _, g := range levelFigures {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(&s.Levels[i]), s.Levels[i].Name)
		}
	}
	for i := range s.Schemas {
		one := &s.Schemas[i]
		for _, g := range schemaFigures {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(one), one.Level, one.Schema)
		}
		for reason, n := range one.Rejected {
			ch <- prometheus.MustNewConstMetric(rejectedDesc, prometheus.CounterValue, float64(n), one.Level, one.Schema, reason)
		}
	}
}
