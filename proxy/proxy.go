package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
)

// removeTimeout bounds the clean-up when Run ends.
const removeTimeout = 30 * time.Second

const byService = "service"

// Proxy keeps the rules of one node in step with Services and EndpointSlices.
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	services *replica.Replica[*corev1.Service]
	slices   *replica.Replica[*discoveryv1.EndpointSlice]
	families []*family
	prefix   string
	ready    chan struct{}
	ran      atomic.Bool

	// wake has room for one token: there is something in dirty.
	wake  chan struct{}
	mu    sync.Mutex
	dirty map[serviceKey]struct{}
}

// New returns a Proxy that does nothing until Run is called. The error names the field of cfg that
// is wrong.
func New(cfg Config) (*Proxy, error) {
	cfg, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, ready: make(chan struct{}),
		wake: make(chan struct{}, 1), dirty: map[serviceKey]struct{}{},
	}
	for _, f := range cfg.Families {
		r, err := newRenderer(cfg.render(f))
		if err != nil {
			return nil, err
		}
		p.prefix = string(r.names)
		p.families = append(p.families, &family{renderer: r, flows: &Flows{}})
	}
	if err := p.watch(); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return p, nil
}

// watch sets up the views of the API.
func (p *Proxy) watch() (err error) {
	p.services, err = replica.New(replica.Config[*corev1.Service]{
		Client: p.cfg.Client, Logger: p.log, LabelSelector: "!" + labelProxyName,
	})
	if err != nil {
		return err
	}
	p.slices, err = replica.New(replica.Config[*discoveryv1.EndpointSlice]{
		Client: p.cfg.Client, Logger: p.log,
		LabelSelector: "!" + labelProxyName + ",!" + corev1.IsHeadlessService,
		Indexers: map[string]func(*discoveryv1.EndpointSlice) []string{
			byService: func(s *discoveryv1.EndpointSlice) []string { return []string{ownerOf(s).String()} },
		},
	})
	if err != nil {
		return err
	}
	p.services.Subscribe(func(c replica.Change[*corev1.Service]) {
		each(c, func(s *corev1.Service) { p.touch(serviceKey{s.Namespace, s.Name}) })
	})
	p.slices.Subscribe(func(c replica.Change[*discoveryv1.EndpointSlice]) {
		each(c, func(s *discoveryv1.EndpointSlice) { p.touch(ownerOf(s)) })
	})
	return nil
}

// each calls f with the states of the object before and after a change.
func each[T client.Object](c replica.Change[T], f func(T)) {
	if c.Kind == replica.Updated || c.Kind == replica.Deleted {
		f(c.Old)
	}
	if c.Kind == replica.Added || c.Kind == replica.Updated {
		f(c.New)
	}
}

// ownerOf returns the Service that a slice belongs to.
func ownerOf(s *discoveryv1.EndpointSlice) serviceKey {
	return serviceKey{s.Namespace, s.Labels[discoveryv1.LabelServiceName]}
}

// String returns "namespace/name".
func (k serviceKey) String() string { return k.Namespace + "/" + k.Name }

func (p *Proxy) touch(k serviceKey) {
	p.mu.Lock()
	p.dirty[k] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Ready is closed once the rules for everything that existed when Run began are in effect.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Run keeps the rules in step until ctx ends, then removes them, unless Config.KeepRules is set, and
// returns when all that it started has stopped. What goes wrong on the way is logged and tried again;
// the error tells that the rules could not be removed. It can be called once.
func (p *Proxy) Run(ctx context.Context) error {
	if !p.ran.CompareAndSwap(false, true) {
		return errors.New("proxy: Run was called before")
	}
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.services.Run(watching) })
	wg.Go(func() { _ = p.slices.Run(watching) })
	if waitBoth(ctx, p.services.Ready(), p.slices.Ready()) {
		p.loop(ctx)
	}
	stop()
	wg.Wait()
	if p.cfg.KeepRules {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := contain(func() error { return p.cfg.Applier.Remove(clean, p.prefix) }); err != nil {
		return fmt.Errorf("proxy: remove the rules: %w", err)
	}
	return nil
}

func waitBoth(ctx context.Context, chans ...<-chan struct{}) bool {
	for _, c := range chans {
		select {
		case <-ctx.Done():
			return false
		case <-c:
		}
	}
	return ctx.Err() == nil
}

// contain turns a panic of f into an error.
func contain(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}
