// Package metrics shows a server's figures to Prometheus at /metrics, under kube-apiserver's names and with its labels
// and buckets, so that dashboards, alerts and service level objectives made for it work. Metrics that would not mean
// the same here are left out. Nothing is global: each Metrics has a registry of its own.
//
//	m, err := metrics.New(metrics.Config{})
//	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Metrics: m})
//	m.Observe(server)
package metrics

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/flowcontrol"
)

// Config configures the metrics of one server; zero values mean defaults.
type Config struct {
	// Collectors are shown besides the server's own metrics, such as those of a store or a scheduler in the same
	// program.
	Collectors []prometheus.Collector
	// FlowControl is that of the server, if it has one. Its events go to these metrics.
	FlowControl *flowcontrol.Controller
	// NoProcess leaves out what is about the whole process and its Go runtime.
	NoProcess bool
}

// Metrics are the metrics of one server. Make them with New and give them to apiserver.Config.Metrics.
type Metrics struct {
	http.Handler
	registry *prometheus.Registry
	requests
	admission
	server atomic.Pointer[apiserver.Server]
}

var _ apiserver.Metrics = (*Metrics)(nil)

// New returns metrics of a server that is yet to be made. It fails when two of the collectors have metrics of the
// same name and labels, or one has a name of the server's own.
func New(cfg Config) (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), requests: newRequests(), admission: newAdmission()}
	all := append([]prometheus.Collector{m}, cfg.Collectors...)
	if cfg.FlowControl != nil {
		all = append(all, newFlows(cfg.FlowControl))
	}
	if !cfg.NoProcess {
		all = append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	m.Handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m, nil
}

// Observe makes the server's figures of the moment part of the metrics: how many objects it has, and its version.
func (m *Metrics) Observe(s *apiserver.Server) { m.server.Store(s) }

// Gatherer returns what has the metrics, for who serves them elsewhere.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Describe implements prometheus.Collector. What is told of depends on the server, so it is not described.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{objectsDesc, storageObjectsDesc, buildDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
	m.collectServer(ch)
}

func (m *Metrics) collectors() []prometheus.Collector {
	return append(m.requests.collectors(), m.admission.collectors()...)
}
