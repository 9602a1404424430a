package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/events"
)

// GroupConfig describes a Group.
type GroupConfig struct {
	// Client is what the group watches with and writes events with.
	Client client.Interface
	// ClientFor returns the client that a controller reads and writes single objects with, by the name of
	// its service account in Kubernetes, such as "deployment-controller"; nil is Client for all.
	ClientFor func(controller string) client.Interface
	// Logger nil discards.
	Logger *slog.Logger
}

// Recorder records Kubernetes Events about objects. It never blocks. EventType is "Normal" or
// "Warning".
type Recorder interface {
	Event(obj client.Object, eventType, reason, message string)
	Eventf(obj client.Object, eventType, reason, format string, args ...any)
}

// Group runs controllers that share one view for each kind that any of them watches. Add
// everything, from one goroutine, then Run.
type Group struct {
	cfg   GroupConfig
	log   *slog.Logger
	ready chan struct{}

	mu          sync.Mutex
	ran         bool
	slots       map[schema.GroupVersionResource]*slot
	controllers []*Controller
	recorders   map[string]*events.Recorder
	beside      []func(ctx context.Context)
}

// errRunning is the answer to additions that come too late.
var errRunning = errors.New("controller: the group runs already")

// NewGroup returns an empty group. The error tells which field of cfg is wrong.
func NewGroup(cfg GroupConfig) (*Group, error) {
	if cfg.Client == nil {
		return nil, errors.New("controller: GroupConfig.Client is nil")
	}
	return &Group{
		cfg:       cfg,
		log:       discard(cfg.Logger),
		ready:     make(chan struct{}),
		slots:     map[schema.GroupVersionResource]*slot{},
		recorders: map[string]*events.Recorder{},
	}, nil
}

// Client returns the client of the group.
func (g *Group) Client() client.Interface { return g.cfg.Client }

// Logger returns the logger of the group, never nil.
func (g *Group) Logger() *slog.Logger { return g.log }

// ClientFor returns the client of a controller, see GroupConfig.ClientFor.
func (g *Group) ClientFor(controller string) client.Interface {
	if g.cfg.ClientFor == nil {
		return g.cfg.Client
	}
	return g.cfg.ClientFor(controller)
}

// Add adds a controller. Names are unique within a group. The error tells what is wrong with cfg.
func (g *Group) Add(cfg Config) (*Controller, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	if g.ran {
		g.mu.Unlock()
		return nil, errRunning
	}
	for _, other := range g.controllers {
		if other.cfg.Name == cfg.Name {
			g.mu.Unlock()
			return nil, fmt.Errorf("controller %s: the group has one of that name", cfg.Name)
		}
	}
	log := cfg.Logger
	if log == nil {
		log = g.log
	}
	c := &Controller{
		cfg:     cfg,
		log:     log.With("controller", cfg.Name),
		ready:   make(chan struct{}),
		pending: map[Key]struct{}{},
	}
	g.mu.Unlock()
	for _, s := range cfg.Sources {
		if err := s.bind(g, c); err != nil {
			return nil, fmt.Errorf("controller %s: %w", cfg.Name, err)
		}
	}
	g.mu.Lock()
	g.controllers = append(g.controllers, c)
	g.mu.Unlock()
	return c, nil
}

// Recorder returns the recorder of events that name component as their source, such as
// "replicaset-controller". Ask for it before the group runs.
func (g *Group) Recorder(component string) (Recorder, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, ok := g.recorders[component]; ok {
		return r, nil
	}
	if g.ran {
		return nil, errRunning
	}
	r, err := events.New(events.Config{Client: g.cfg.Client, Component: component, Logger: g.log})
	if err != nil {
		return nil, err
	}
	g.recorders[component] = r
	return r, nil
}

// Go has f called beside the controllers when the group runs. F must return once its context ends, since Run
// waits for it. Call it before the group runs.
func (g *Group) Go(f func(ctx context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ran {
		return errRunning
	}
	g.beside = append(g.beside, f)
	return nil
}

func (g *Group) slot(gvr schema.GroupVersionResource) (*slot, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s, ok := g.slots[gvr]; ok {
		return s, nil
	}
	if g.ran {
		return nil, errRunning
	}
	s := &slot{gvr: gvr, indexers: map[string]func(client.Object) []string{}, ready: make(chan struct{})}
	g.slots[gvr] = s
	return s, nil
}

// Ready is closed once every controller of the group is ready.
func (g *Group) Ready() <-chan struct{} { return g.ready }

// Run runs all views and controllers until ctx ends, and returns nil then, once everything has
// stopped. It can be called once.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.ran {
		g.mu.Unlock()
		return errors.New("controller: Run was called before")
	}
	g.ran = true
	g.mu.Unlock()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Events outlive the controllers, so that their last ones are written.
	eventCtx, stopEvents := context.WithCancel(context.WithoutCancel(ctx))
	var recorders sync.WaitGroup
	defer recorders.Wait()
	defer stopEvents()
	for _, r := range g.recorders {
		recorders.Go(func() { _ = r.Run(eventCtx) })
	}

	var running sync.WaitGroup
	for _, c := range g.controllers {
		c.open()
	}
	err := g.start(ctx, cancel, &running)
	if err != nil {
		cancel(err)
	}
	for _, c := range g.controllers {
		running.Go(func() { c.work(ctx) })
	}
	for _, f := range g.beside {
		running.Go(func() { f(ctx) })
	}
	running.Go(func() { g.announce(ctx) })
	running.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, errView) || err != nil {
		return cause
	}
	return nil
}

var errView = errors.New("controller: a view stopped")

// start runs the views.
func (g *Group) start(ctx context.Context, cancel context.CancelCauseFunc, running *sync.WaitGroup) error {
	for _, s := range g.slots {
		r, err := s.open(g.cfg.Client, g.log)
		if err != nil {
			return err
		}
		running.Go(func() {
			if err := r.Run(ctx); err != nil {
				cancel(fmt.Errorf("%w: %s: %w", errView, s.gvr.Resource, err))
			}
		})
	}
	return nil
}

// announce closes ready when all controllers are.
func (g *Group) announce(ctx context.Context) {
	for _, c := range g.controllers {
		select {
		case <-c.ready:
		case <-ctx.Done():
			return
		}
	}
	close(g.ready)
}
