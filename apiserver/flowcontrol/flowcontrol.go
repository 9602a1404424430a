// Package flowcontrol decides when requests run, as kube-apiserver's API priority and fairness does it
// (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/, KEP-1040): FlowSchemas sort requests into
// flows and give each a priority level; PriorityLevelConfigurations share the server's seats among the levels. At a
// level that is full, requests wait in queues which are served fairly, so that a user who floods the server delays
// himself and hardly anyone else. The objects are read where the server stores them and count at once.
//
//	flows, err := flowcontrol.New(flowcontrol.Config{Store: st})
//	defer flows.Close()
//	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), FlowControl: flows})
//
// The server's Run makes Kubernetes' default objects and keeps the mandatory ones; it also moves seats that a level
// does not use to others. Requests in process are not flow-controlled.
package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/follow"
)

// Config configures a Controller. Only Store has no default.
type Config struct {
	// Store is the API server's.
	Store apiserver.Store
	// Seats are what all levels share: the number of ordinary requests that run at once. 600 by default, as
	// kube-apiserver has it.
	Seats int
	// Logger receives what the operator should know; nil discards.
	Logger *slog.Logger
}

// Events are told to who measures; nil functions are not called.
type Events struct {
	// Waited tells how long a request waited in a queue, and whether it ran in the end.
	Waited func(level, schema string, took time.Duration, ran bool)
	// Ran tells how long a request ran; a watch, until it had sent what there was.
	Ran func(level, schema string, watch bool, took time.Duration)
	// Estimated tells how many seats a request takes.
	Estimated func(level, schema string, seats int)
}

// Controller decides when requests run. Make it with New; it is safe for concurrent use.
type Controller struct {
	cfg      Config
	view     *view
	follower *follow.Follower
	watches  watches
	sizes    sizes
	events   atomic.Pointer[Events]

	// mu guards the levels and all that is in them, and figures.
	mu       sync.Mutex
	levels   map[string]*level
	figures  map[figuresOf]*figures
	multiple float64
}

var _ apiserver.FlowControl = (*Controller)(nil)

// New returns a controller over a store. It holds cursors over the store's history, but no goroutine, until Close or
// the end of the store.
func New(cfg Config) (*Controller, error) {
	if cfg.Store == nil {
		return nil, errors.New("flowcontrol: Config.Store is missing")
	}
	if cfg.Seats < 0 {
		return nil, errors.New("flowcontrol: Config.Seats is negative")
	}
	if cfg.Seats == 0 {
		cfg.Seats = 600
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Controller{cfg: cfg, levels: map[string]*level{}, figures: map[figuresOf]*figures{}, sizes: sizes{store: cfg.Store}}
	c.view = newView(c)
	sources, err := c.view.sources()
	if err != nil {
		return nil, fmt.Errorf("flowcontrol: %w", err)
	}
	c.follower = follow.New(cfg.Store, c.view, sources...)
	c.events.Store(&Events{})
	return c, nil
}

// Close gives up the cursors. Requests are refused afterwards.
func (c *Controller) Close() error {
	c.follower.Close()
	return nil
}

// Observe has events told from here on.
func (c *Controller) Observe(e Events) { c.events.Store(&e) }

// settings returns the configuration of the moment.
func (c *Controller) settings(ctx context.Context) (s *settings, err error) {
	err = c.follower.Read(ctx, func() { s = c.view.settings() })
	return s, err
}

// flow is a request that runs.
type flow struct {
	ticket
	c  *Controller
	fs *flowSchema
	// forget ends the count of a watch; nil for other requests.
	forget func()
	// ended tells that the ticket is finished.
	ended atomic.Bool
}

// Start implements apiserver.FlowControl.
func (c *Controller) Start(ctx context.Context, r *apiserver.RequestInfo, wait time.Duration) (apiserver.Flow, error) {
	s, err := c.settings(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, apierrors.NewInternalError(fmt.Errorf("reading flow schemas: %w", err))
	}
	fs := s.classify(r)
	f := &flow{c: c, fs: fs}
	f.cost = c.cost(ctx, r, fs.level)
	events := c.events.Load()
	if events.Estimated != nil {
		events.Estimated(fs.level.name, fs.name, f.most())
	}
	if err := c.enter(ctx, f, fs.hash(r), wait, events); err != nil {
		return f, err
	}
	if r.IsResource && r.Verb == "watch" {
		f.forget = c.watches.add(r)
	}
	return f, nil
}

// enter waits until the flow may run, no longer than told.
func (c *Controller) enter(ctx context.Context, f *flow, hash uint64, wait time.Duration, events *Events) error {
	l := f.fs.level
	from := time.Now()
	c.mu.Lock()
	l.queues.arrive(&f.ticket, hash, from)
	state, ready, queues := f.state, f.ready, l.queues.shape.queues
	c.note(f, refused, state)
	c.mu.Unlock()
	switch state {
	case refused:
		f.ended.Store(true)
		if queues == 0 {
			return c.refuse(f, "concurrency-limit")
		}
		return c.refuse(f, "queue-full")
	case running:
		if events.Waited != nil && !l.exempt() {
			events.Waited(l.name, f.fs.name, 0, true)
		}
		return nil
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case <-ready:
	case <-limit.C:
	case <-ctx.Done():
	}
	now := time.Now()
	c.mu.Lock()
	late := l.queues.cancel(&f.ticket, now)
	c.note(f, waiting, f.state)
	c.mu.Unlock()
	if events.Waited != nil {
		events.Waited(l.name, f.fs.name, now.Sub(from), !late)
	}
	if !late {
		return nil
	}
	f.ended.Store(true)
	return c.refuse(f, "time-out")
}

// refuse counts a refusal and returns what the client is told.
func (c *Controller) refuse(f *flow, reason string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.fs.figures.Rejected[reason]++
	seconds := f.fs.level.retries.refuse(time.Now().Unix())
	return apierrors.NewTooManyRequests("the server has received too many requests and has asked us to try again later", int(seconds))
}

// Header implements apiserver.Flow: it tells which objects decided, by uid, as their names may tell too much.
func (f *flow) Header(h http.Header) {
	h[headerLevel] = f.fs.levelHeader
	h[headerSchema] = f.fs.schemaHeader
}

var (
	headerLevel  = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID)
	headerSchema = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
)

// Initialized implements apiserver.Flow: from here on a watch takes no seats.
func (f *flow) Initialized() { f.finish() }

// Done implements apiserver.Flow.
func (f *flow) Done() {
	f.finish()
	if f.forget != nil {
		f.forget()
	}
}

// finish gives the seats back, once.
func (f *flow) finish() {
	if f.ended.Swap(true) {
		return
	}
	c := f.c
	now := time.Now()
	c.mu.Lock()
	q := f.fs.level.queues
	begun := f.begun
	lingers := q.finish(&f.ticket, now)
	c.note(f, running, f.state)
	c.mu.Unlock()
	if lingers > 0 {
		time.AfterFunc(lingers, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			q.release(&f.ticket, time.Now())
			c.note(f, lingering, gone)
		})
	}
	if e := c.events.Load(); e.Ran != nil {
		e.Ran(f.fs.level.name, f.fs.name, f.forget != nil, now.Sub(begun))
	}
}

// cost estimates what a request takes.
func (c *Controller) cost(ctx context.Context, r *apiserver.RequestInfo, l *level) cost {
	switch {
	case !r.IsResource:
		return cost{seats: 1}
	case r.Verb == "list" || r.Verb == "watch":
		return listCost(r, int(l.most.Load()), func() (size, bool) {
			if r.Kind == nil {
				return size{}, false
			}
			return c.sizes.of(ctx, schema.GroupResource{Group: r.APIGroup, Resource: r.Resource}, time.Now())
		})
	case r.Resource == "serviceaccounts" && r.Subresource == "token":
		return cost{seats: 1} // nothing is stored, so nobody hears of it
	case r.Verb == "create" || r.Verb == "update" || r.Verb == "patch" || r.Verb == "delete":
		return writeCost(c.watches.interested(r), int(l.most.Load()))
	}
	return cost{seats: 1}
}
