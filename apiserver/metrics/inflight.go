package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// watermark is a number of requests, and the highest that it was within a second: who looks now and then would see
// little of short bursts.
type watermark struct {
	now    atomic.Int64
	second atomic.Int64
	// high is the highest number of that second, before of the one before.
	high, before atomic.Int64
}

func (w *watermark) add(n int64) {
	v := w.now.Add(n)
	if n > 0 {
		w.note(v, time.Now().Unix())
	}
}

// note takes a number into account. When two seconds meet, one of two numbers at the same instant may be lost.
func (w *watermark) note(v, second int64) {
	if last := w.second.Load(); last != second && w.second.CompareAndSwap(last, second) {
		before := w.high.Swap(v)
		if second != last+1 {
			before = v
		}
		w.before.Store(before)
	}
	for high := w.high.Load(); v > high && !w.high.CompareAndSwap(high, v); high = w.high.Load() {
	}
}

// read returns the highest number of the last second or two.
func (w *watermark) read(second int64) int64 {
	v := w.now.Load()
	switch w.second.Load() {
	case second:
		return max(v, w.high.Load(), w.before.Load())
	case second - 1:
		return max(v, w.high.Load())
	}
	return v
}

// inFlight shows how many requests run.
type inFlight struct{ r *requests }

var inFlightDesc = prometheus.NewDesc("apiserver_current_inflight_requests",
	"Highest number of requests that ran at once within the last second or two, without watches, logs and connections.",
	[]string{"request_kind"}, nil)

// Describe implements prometheus.Collector.
func (f *inFlight) Describe(ch chan<- *prometheus.Desc) { ch <- inFlightDesc }

// Collect implements prometheus.Collector.
func (f *inFlight) Collect(ch chan<- prometheus.Metric) {
	now := time.Now().Unix()
	ch <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(f.r.readOnly.read(now)), "readOnly")
	ch <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(f.r.mutating.read(now)), "mutating")
}
