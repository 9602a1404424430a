package metrics

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/inboard/inboard/apiserver"
)

// requests measures requests over HTTP.
type requests struct {
	total, watchEvents, terminations, aborts *prometheus.CounterVec
	latencies, sizes, watchSizes             *prometheus.HistogramVec
	longRunning, deprecated                  *prometheus.GaugeVec
	readOnly, mutating                       watermark

	ended   cache[outcome, answered]
	running cache[labels, prometheus.Gauge]
	watched cache[labels, watchedSeries]
}

// labels tell the series of requests apart.
type labels struct{ verb, group, version, resource, subresource, scope, component string }

// outcome tells the series of requests that ended apart.
type outcome struct {
	labels
	dryRun           string
	code             int
	refused, aborted bool
	// deprecated and removed tell of an API version that will go, and in which release.
	deprecated bool
	removed    string
}

// answered are the series that a request that ended belongs to; nil ones are none.
type answered struct {
	total       prometheus.Counter
	latency     prometheus.Observer
	size        prometheus.Observer
	termination prometheus.Counter
	abort       prometheus.Counter
}

type watchedSeries struct {
	events prometheus.Counter
	sizes  prometheus.Observer
}

const component = "apiserver"

func newRequests() requests {
	what := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	withDryRun := slices.Insert(slices.Clone(what), 1, "dry_run")
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels []string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels []string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_" + name, Help: help, Buckets: buckets}, labels)
	}
	kind := []string{"group", "version", "resource"}
	return requests{
		total: counter("request_total", "Requests, by what they were for and how they ended.", append(slices.Clone(withDryRun), "code")),
		latencies: histogram("request_duration_seconds", "Time from a request's arrival until its answer was written.",
			[]float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}, withDryRun),
		sizes:       histogram("response_sizes", "Sizes in bytes of answers to gets and lists, before compression.", prometheus.ExponentialBuckets(1000, 10, 7), what),
		longRunning: gauge("longrunning_requests", "Watches, logs and connections that are open.", what),
		terminations: counter("request_terminations_total", "Requests that were refused as there were too many.",
			append(slices.Clone(what), "code")),
		aborts:      counter("request_aborts_total", "Requests whose connection was broken off before or during the answer.", what[:6]),
		watchEvents: counter("watch_events_total", "Events sent to watching clients.", kind),
		watchSizes:  histogram("watch_events_sizes", "Sizes in bytes of events sent to watching clients.", prometheus.ExponentialBuckets(1024, 2, 8), kind),
		deprecated: gauge("requested_deprecated_apis", "1 for each deprecated API that was asked for, with the release of Kubernetes that removes it.",
			[]string{"group", "version", "resource", "subresource", "removed_release"}),
	}
}

func (r *requests) collectors() []prometheus.Collector {
	return []prometheus.Collector{r.total, r.latencies, r.sizes, r.longRunning, r.terminations, r.aborts,
		r.watchEvents, r.watchSizes, r.deprecated, &inFlight{r}}
}

// Started implements apiserver.Metrics.
func (r *requests) Started(req *apiserver.RequestInfo) {
	if req.LongRunning {
		r.running.get(labelsOf(req), r.makeRunning).Inc()
		return
	}
	r.mark(req).add(1)
}

// Ended implements apiserver.Metrics.
func (r *requests) Ended(req *apiserver.RequestInfo, a apiserver.Answer) {
	o := outcome{labels: labelsOf(req), code: a.Code, refused: a.Refused, aborted: a.Code == 0}
	if !a.Refused {
		if req.LongRunning {
			r.running.get(o.labels, r.makeRunning).Dec()
		} else {
			r.mark(req).add(-1)
		}
	}
	if o.resource == "" && o.subresource == "" {
		return // pages, and what is not served: kube-apiserver does not count them either
	}
	if dryRun, ok := req.Query["dryRun"]; ok {
		o.dryRun = dryRunLabel(dryRun)
	}
	if req.Kind != nil {
		o.deprecated, o.removed = lifecycle(req.Kind)
	}
	s := r.ended.get(o, r.makeAnswered)
	if s.abort != nil {
		s.abort.Inc()
		return
	}
	s.total.Inc()
	if s.termination != nil {
		s.termination.Inc()
		return
	}
	s.latency.Observe(a.Took.Seconds())
	if s.size != nil {
		s.size.Observe(float64(a.Size))
	}
}

// Watched implements apiserver.Metrics.
func (r *requests) Watched(req *apiserver.RequestInfo, sizes []int) {
	s := r.watched.get(labels{group: req.APIGroup, version: req.APIVersion, resource: req.Resource}, r.makeWatched)
	s.events.Add(float64(len(sizes)))
	for _, n := range sizes {
		s.sizes.Observe(float64(n))
	}
}

func (r *requests) mark(req *apiserver.RequestInfo) *watermark {
	switch req.Verb {
	case "get", "list", "watch":
		return &r.readOnly
	}
	return &r.mutating
}

func (r *requests) makeRunning(l labels) prometheus.Gauge {
	return r.longRunning.WithLabelValues(l.values()...)
}

func (r *requests) makeWatched(l labels) watchedSeries {
	return watchedSeries{r.watchEvents.WithLabelValues(l.group, l.version, l.resource), r.watchSizes.WithLabelValues(l.group, l.version, l.resource)}
}

func (r *requests) makeAnswered(o outcome) answered {
	values := o.values()
	if o.aborted {
		return answered{abort: r.aborts.WithLabelValues(values[:6]...)}
	}
	withDryRun := slices.Insert(slices.Clone(values), 1, o.dryRun)
	s := answered{total: r.total.WithLabelValues(append(slices.Clone(withDryRun), strconv.Itoa(o.code))...)}
	if o.refused {
		s.termination = r.terminations.WithLabelValues(append(values, strconv.Itoa(o.code))...)
		return s
	}
	s.latency = r.latencies.WithLabelValues(withDryRun...)
	if o.verb == "GET" || o.verb == "LIST" {
		s.size = r.sizes.WithLabelValues(values...)
	}
	if o.deprecated {
		r.deprecated.WithLabelValues(o.group, o.version, o.resource, o.subresource, o.removed).Set(1)
	}
	return s
}

func (l *labels) values() []string {
	return []string{l.verb, l.group, l.version, l.resource, l.subresource, l.scope, l.component}
}

// pages are what is not for a resource and counted all the same, by its path in place of a subresource.
var pages = []string{"/healthz", "/livez", "/readyz"}

// labelsOf returns what a request is about. What clients can make up, such as names of resources that are not
// served, is left out: there would be no end of series.
func labelsOf(r *apiserver.RequestInfo) labels {
	l := labels{verb: verbOf(r)}
	switch {
	case !r.IsResource:
		if path := strings.TrimSuffix(r.Path, "/"); slices.Contains(pages, path) {
			l.subresource = path
		}
		return l
	case r.Kind != nil:
		l.group, l.version, l.resource = r.APIGroup, r.APIVersion, r.Resource
		l.subresource = knownSubresource(r.Kind, r.Subresource)
	}
	l.component = component
	switch {
	case r.Name != "" || r.Verb == "create":
		l.scope = "resource"
	case r.Namespace != "":
		l.scope = "namespace"
	default:
		l.scope = "cluster"
	}
	return l
}

// connections are the subresources that are streams.
var connections = []string{"attach", "exec", "log", "portforward", "proxy"}

func knownSubresource(k *apiserver.Kind, name string) string {
	_, own := k.Subresources[name]
	if name == "" || own || name == "status" || name == "scale" || slices.Contains(connections, name) {
		return name
	}
	return "other"
}

func verbOf(r *apiserver.RequestInfo) string {
	if r.IsResource && slices.Contains(connections, r.Subresource) {
		return "CONNECT"
	}
	switch {
	case r.Apply:
		return "APPLY"
	case r.IsResource && (r.Verb == "list" || r.Verb == "watch"):
		return strings.ToUpper(r.Verb)
	}
	switch r.Method {
	case http.MethodHead:
		return http.MethodGet
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return r.Method
	}
	return "other"
}

func dryRunLabel(values []string) string {
	for _, v := range values {
		if v != "All" {
			return "invalid"
		}
	}
	return "All"
}

// lifecycle tells whether the version of a kind is deprecated, and which release removes it.
func lifecycle(k *apiserver.Kind) (deprecated bool, removed string) {
	if _, deprecated = k.Object.(interface{ APILifecycleDeprecated() (int, int) }); !deprecated {
		return false, ""
	}
	if r, ok := k.Object.(interface{ APILifecycleRemoved() (int, int) }); ok {
		major, minor := r.APILifecycleRemoved()
		removed = fmt.Sprintf("%d.%d", major, minor)
	}
	return true, removed
}
