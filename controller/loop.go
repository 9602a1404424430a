package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
)

type queue = workqueue.TypedRateLimitingInterface[Key]

// Controller is one reconcile loop, made by New or Group.Add.
type Controller struct {
	cfg   Config
	log   *slog.Logger
	own   *Group // set when made by New
	waits []<-chan struct{}
	ready chan struct{}

	mu      sync.Mutex
	queue   queue            // nil unless running
	pending map[Key]struct{} // enqueued before the start
}

// Run reconciles until ctx ends; it returns nil then, once all workers have stopped. It can be
// called once, and only on a controller made by New: a Group runs its own.
func (c *Controller) Run(ctx context.Context) error {
	if c.own == nil {
		return fmt.Errorf("controller %s: belongs to a group; run the group", c.cfg.Name)
	}
	return c.own.Run(ctx)
}

// Ready is closed once the controller's views hold everything that existed at the start, and its
// workers run.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// Enqueue asks for a reconcile of key, for changes that no source tells of. Before Run it is kept;
// afterwards it does nothing.
func (c *Controller) Enqueue(key Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.queue != nil:
		c.queue.Add(key)
	case c.pending != nil:
		c.pending[key] = struct{}{}
	}
}

// open makes the queue accept keys.
func (c *Controller) open() {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[Key](c.cfg.BaseDelay, c.cfg.MaxDelay)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = workqueue.NewTypedRateLimitingQueue(limiter)
	for key := range c.pending {
		c.queue.Add(key)
	}
	c.pending = nil
}

// work waits for the views, then reconciles until ctx ends.
func (c *Controller) work(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	defer c.queue.ShutDown()
	for _, synced := range c.waits {
		select {
		case <-synced:
		case <-ctx.Done():
			return
		}
	}
	for range c.cfg.Workers {
		workers.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	close(c.ready)
	<-ctx.Done()
}

// next reconciles one key; false means that the queue was shut down.
func (c *Controller) next(ctx context.Context) bool {
	key, down := c.queue.Get()
	if down {
		return false
	}
	defer c.queue.Done(key)
	if ctx.Err() != nil {
		return true // the queue drains without work
	}
	result, err := c.reconcile(ctx, key)
	if err != nil {
		if ctx.Err() == nil {
			c.queue.AddRateLimited(key)
			c.report(key, err)
		}
		return true
	}
	c.queue.Forget(key)
	if result.After > 0 {
		c.queue.AddAfter(key, result.After)
	}
	return true
}

// reconcile contains what the reconciler does, a panic included.
func (c *Controller) reconcile(ctx context.Context, key Key) (result Result, err error) {
	begin := time.Now()
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		c.log.Debug("reconciled", "key", key.String(), "took", time.Since(begin), "after", result.After, "error", err)
	}()
	return c.cfg.Reconciler.Reconcile(ctx, key)
}

// report logs an error. A conflict only says that a newer state is on its way, so it is no news.
func (c *Controller) report(key Key, err error) {
	var p *PanicError
	switch {
	case errors.As(err, &p):
		c.log.Error("reconcile panicked; it will be tried again", "key", key.String(), "panic", p.Value, "stack", string(p.Stack))
	case apierrors.IsConflict(err):
		c.log.Debug("reconcile met a conflict; it will be tried again", "key", key.String(), "error", err)
	default:
		c.log.Warn("reconcile failed; it will be tried again", "key", key.String(), "error", err)
	}
	if c.cfg.OnError == nil {
		return
	}
	defer c.contain("Config.OnError")
	c.cfg.OnError(key, err)
}

// contain is deferred around functions of others.
func (c *Controller) contain(what string) {
	if v := recover(); v != nil {
		c.log.Error(what+" panicked", "panic", v, "stack", string(debug.Stack()))
	}
}
