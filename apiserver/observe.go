package apiserver

import (
	"context"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// RequestInfo is a request over HTTP as flow control and metrics see it. It is shared: read it only.
type RequestInfo struct {
	// Attributes are those that authorization will be asked about, but for selectors. Path is set for all requests.
	Attributes
	// Method is the HTTP method.
	Method string
	Query  url.Values
	// Kind is the row of the table that the request is for; nil for one that is not for a resource, or not for one
	// that is served.
	Kind *Kind
	// IsResource tells of a request for a resource, served or not.
	IsResource bool
	// LongRunning tells of watches, logs and connections, which last as long as the client wants.
	LongRunning bool
	// Apply tells of a patch that is server-side apply.
	Apply bool
}

// Answer is how a request ended.
type Answer struct {
	// Code is the HTTP status, 0 when the connection was broken off.
	Code int
	// Size of the body in bytes before compression; that of a watch is not told.
	Size int64
	Took time.Duration
	// Refused tells that the request was never begun, as there were too many.
	Refused bool
}

// Metrics are told what a server does, and shown at /metrics. Package metrics has those of kube-apiserver.
type Metrics interface {
	// ServeHTTP answers GET /metrics.
	http.Handler
	// Started tells that a request runs; what waits or is refused does not.
	Started(r *RequestInfo)
	// Ended tells how a request ended, refused ones too.
	Ended(r *RequestInfo, a Answer)
	// Watched tells of events of a watch that were sent, by their sizes in bytes.
	Watched(r *RequestInfo, sizes []int)
	// Admitted tells what an admission plugin took to decide about a write, and with the name "" what all of
	// them did. Those that may change the object are asked before those that may not.
	Admitted(plugin string, mutating bool, operation Operation, took time.Duration, rejected bool)
}

// FlowControl decides when requests over HTTP run. Package flowcontrol has Kubernetes' own, API priority and
// fairness. If it is an http.Handler, that serves what is below /debug/api_priority_and_fairness/.
type FlowControl interface {
	// Start returns when a request may run, but waits no longer than told. An error refuses the request; the Flow
	// may be nil then, and Done must be called all the same if it is not.
	Start(ctx context.Context, r *RequestInfo, wait time.Duration) (Flow, error)
	// Bootstrap makes the objects that steer the requests; Server.Run calls it. c may do everything.
	Bootstrap(ctx context.Context, c client.Interface) error
	// Run keeps those objects until ctx ends.
	Run(ctx context.Context, c client.Interface) error
}

// Flow is a request that FlowControl let run.
type Flow interface {
	// Header adds to the answer's header what tells of the decision.
	Header(h http.Header)
	// Initialized tells that a watch has sent what there was when it began, so that it costs little from here on.
	Initialized()
	// Done tells that the request ended.
	Done()
}

// debugPath begins the paths of what a FlowControl tells about itself.
const debugPath = "/debug/api_priority_and_fairness/"

// dumps is what serves debugPath, nil for none.
func (s *Server) dumps() http.Handler {
	h, _ := s.cfg.FlowControl.(http.Handler)
	return h
}

// describe fills in what others see of the request.
func (c *call) describe(verb string) {
	t, r := &c.target, &c.info
	r.Attributes = Attributes{
		User: c.user, Verb: verb, Namespace: t.ref.Namespace, APIGroup: t.ref.Group, APIVersion: t.ref.Version,
		Resource: t.ref.Resource, Subresource: t.ref.Subresource, Name: t.ref.Name, Path: c.r.URL.Path,
	}
	r.Method, r.Query, r.IsResource = c.r.Method, c.query, true
	if served := c.server.catalog.Load().table.served[t.ref.GroupVersionResource]; served != nil {
		r.Kind = &served.Kind
	}
	r.LongRunning = t.longRunning(verb)
	r.Apply = verb == verbPatch && c.r.Header.Get("Content-Type") == string(types.ApplyYAMLPatchType)
}

// run serves a request when flow control, or the limit of requests in flight, lets it.
func (c *call) run(serve func()) {
	s := c.server
	isWatch := c.info.IsResource && c.info.Verb == verbWatch
	switch {
	case s.cfg.FlowControl != nil && (!c.info.LongRunning || isWatch):
		flow, err := s.cfg.FlowControl.Start(c.r.Context(), &c.info, s.cfg.Limits.waiting())
		if flow != nil {
			defer flow.Done()
			flow.Header(c.w.Header())
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.flow = flow
	case !c.info.LongRunning && c.info.IsResource:
		select {
		case s.inFlight <- struct{}{}:
			defer func() { <-s.inFlight }()
		default:
			c.fail(apierrors.NewTooManyRequests("the server has received too many requests and has asked us to try again later", 1))
			return
		}
	}
	c.running = true
	if m := s.cfg.Metrics; m != nil {
		m.Started(&c.info)
	}
	if c.info.LongRunning {
		serve()
		return
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), s.cfg.Limits.RequestTimeout)
	defer cancel()
	c.r = c.r.WithContext(ctx)
	serve()
}

// waiting is how long a request may wait for its turn: as kube-apiserver has it, a quarter of its time.
func (l *Limits) waiting() time.Duration { return min(l.RequestTimeout/4, time.Minute) }

// initialized tells flow control that a watch has sent what there was.
func (c *call) initialized() {
	if c.flow != nil {
		c.flow.Initialized()
	}
}

// ended tells the metrics of the request, if it got as far as being told apart.
func (c *call) ended() {
	if m := c.server.cfg.Metrics; m != nil && c.info.User != nil {
		m.Ended(&c.info, Answer{Code: c.code, Size: c.size, Took: time.Since(c.began), Refused: !c.running})
	}
}

// handOver returns the writer for somebody who writes the whole answer.
func (c *call) handOver() http.ResponseWriter {
	c.started = true
	if c.server.cfg.Metrics == nil {
		return c.w
	}
	return &recorder{ResponseWriter: c.w, call: c}
}

// recorder notes the status and the size of an answer.
type recorder struct {
	http.ResponseWriter
	call *call
}

// Unwrap lets http.ResponseController find what the connection can do.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	if r.call.code < http.StatusOK {
		r.call.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.call.code < http.StatusOK {
		r.call.code = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.call.size += int64(n)
	return n, err
}

// timing measures admission for the metrics; without any it does nothing.
type timing struct {
	metrics     Metrics
	mutating    bool
	operation   Operation
	begun, last time.Time
}

func (s *Server) timing(mutating bool, operation Operation) timing {
	if s.cfg.Metrics == nil {
		return timing{}
	}
	now := time.Now()
	return timing{s.cfg.Metrics, mutating, operation, now, now}
}

// plugin tells what a plugin took, and when it refused, that this is the end.
func (t *timing) plugin(name string, err error) {
	if t.metrics == nil {
		return
	}
	now := time.Now()
	t.metrics.Admitted(name, t.mutating, t.operation, now.Sub(t.last), err != nil)
	t.last = now
	if err != nil {
		t.all(err)
	}
}

// all tells what all plugins took.
func (t *timing) all(err error) {
	if t.metrics != nil {
		t.metrics.Admitted("", t.mutating, t.operation, t.last.Sub(t.begun), err != nil)
	}
}

// CountObjects returns how many objects of each resource are stored.
func (s *Server) CountObjects(ctx context.Context) (map[schema.GroupResource]int64, error) {
	out := map[schema.GroupResource]int64{}
	for _, r := range s.catalog.Load().table.ordered {
		if r.hub != nil || r.Review != nil {
			continue
		}
		all, err := s.store.Range(ctx, store.Range{Key: r.prefix, End: store.PrefixEnd(r.prefix), Limit: 1})
		if err != nil {
			return nil, storeError(err, 0)
		}
		out[r.gr] = int64(all.Count)
	}
	return out, nil
}
