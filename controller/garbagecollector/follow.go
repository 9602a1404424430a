package garbagecollector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/controller"
)

const (
	// gap is the least time from one look at what there is to the next that a change leads to.
	gap = 100 * time.Millisecond
	// patience is how long is waited at most for the kinds at the start, as in Kubernetes.
	patience = 30 * time.Second
	// askGap is the least time between two looks that owners of unknown kinds lead to: anyone may name such.
	askGap = time.Second
)

// Their changes tell that kinds come and go.
var (
	definitions = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}
	apiServices = schema.GroupResource{Group: "apiregistration.k8s.io", Resource: "apiservices"}
)

// follower keeps a view of each kind that is served besides the fixed ones.
type follower struct {
	c        *collector
	watching client.Interface
	discover controller.Resources
	resync   time.Duration
	log      *slog.Logger
	fixed    *table
	taken    map[schema.GroupResource]bool // fixed resources, whatever their version
	ready    chan struct{}                 // closed when the kinds of the start are in view
	wake     chan struct{}
	views    sync.WaitGroup
	ctx      context.Context // run's; views end with it

	mu     sync.Mutex // held during a look
	kinds  map[schema.GroupVersionResource]*followed
	looked time.Time // when the last look that told something began
	ended  bool

	askMu sync.Mutex
	asked time.Time
}

// followed is one kind.
type followed struct {
	controller.Resource
	view   *replica.Replica[client.Object]
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{}
}

func newFollower(c *collector, g *controller.Group, cfg Config, fixed *table) *follower {
	f := &follower{
		c: c, watching: g.Client(), discover: cfg.Discover, resync: cfg.Resync, fixed: fixed,
		log:   cmp.Or(cfg.Logger, g.Logger()).With("controller", "garbagecollector"),
		taken: map[schema.GroupResource]bool{}, ready: make(chan struct{}), wake: make(chan struct{}, 1),
		kinds: map[schema.GroupVersionResource]*followed{},
	}
	for _, x := range cfg.Resources {
		f.taken[x.GroupResource()] = true
	}
	return f
}

// run looks at what there is until ctx ends.
func (f *follower) run(ctx context.Context) {
	f.mu.Lock()
	f.ctx = ctx
	f.mu.Unlock()
	defer f.end()
	f.begin(ctx)
	for {
		pause := time.NewTimer(gap)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		next := time.NewTimer(f.resync)
		select {
		case <-f.wake:
		case <-next.C:
		case <-ctx.Done():
		}
		next.Stop()
		if ctx.Err() != nil {
			return
		}
		_ = f.look(ctx) // logged
	}
}

// end waits for all views; ctx has ended.
func (f *follower) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.views.Wait()
}

// begin has the kinds that there are at the start in view before anything is judged, as far as they can be had.
func (f *follower) begin(ctx context.Context) {
	defer close(f.ready)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for f.look(ctx) != nil {
		select {
		case <-time.After(gap):
		case <-ctx.Done():
			return
		}
	}
	if err := f.synced(ctx); err != nil {
		f.log.Warn("the garbage collector begins without all kinds", "error", err)
	}
}

// look asks what there is, and begins and ends views. The error tells that nothing was learned.
func (f *follower) look(ctx context.Context) error { return f.lookSince(ctx, time.Now()) }

// lookSince is look, unless another one has begun since and is done.
func (f *follower) lookSince(ctx context.Context, since time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return context.Canceled
	case !f.looked.Before(since):
		return nil
	}
	began := time.Now()
	found, err := f.discover(ctx)
	var partial *controller.PartialError
	switch {
	case errors.As(err, &partial):
		f.log.Debug("not all kinds can be discovered", "error", err)
	case err != nil:
		if ctx.Err() == nil {
			f.log.Warn("kinds can't be discovered; those that are known stay", "error", err)
		}
		return fmt.Errorf("garbagecollector: %w", err)
	}
	served := map[schema.GroupVersionResource]bool{}
	var unknown []controller.Resource
	for _, x := range found {
		if f.taken[x.GroupResource()] || passedOver(x) {
			continue
		}
		served[x.GroupVersionResource] = true
		if f.kinds[x.GroupVersionResource] == nil {
			unknown = append(unknown, x)
		}
	}
	var gone []*followed
	for gvr, k := range f.kinds {
		if !served[gvr] && (partial == nil || partial.Failed[gvr.GroupVersion()] == nil) {
			gone = append(gone, k)
			delete(f.kinds, gvr)
		}
	}
	fresh := f.open(ctx, unknown)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, n := range fresh {
		f.kinds[n.GroupVersionResource] = n
	}
	f.publish(fresh, gone)
	f.looked = began
	return nil
}

// open returns views of the kinds that can be read now; they do not run yet. One that can't, such as of a server that
// does not answer or that only HTTPS reaches, is left for the next look.
func (f *follower) open(ctx context.Context, kinds []controller.Resource) []*followed {
	ctx, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	views := make([]*followed, len(kinds))
	_ = controller.Parallel(len(kinds), func(i int) error { // what fails is logged and stays nil
		ref := client.Ref{GroupVersionResource: kinds[i].GroupVersionResource}
		_, err := f.watching.List(ctx, ref, metav1.ListOptions{Limit: 1})
		if err == nil {
			views[i], err = f.viewOf(kinds[i])
		}
		if err != nil {
			f.log.Debug("a kind can't be watched; it is passed over for now", "resource", kinds[i].GroupResource().String(), "error", err)
		}
		return nil
	})
	return slices.DeleteFunc(views, func(v *followed) bool { return v == nil })
}

// viewOf returns the view of a kind.
func (f *follower) viewOf(x controller.Resource) (*followed, error) {
	v, err := replica.New(replica.Config[client.Object]{
		Client: f.watching, Resource: x.GroupVersionResource, Logger: f.log,
		Indexers: map[string]func(client.Object) []string{dependentIndex: ownersOf},
	})
	if err != nil {
		return nil, fmt.Errorf("garbagecollector: %w", err)
	}
	v.Subscribe(func(ch replica.Change[client.Object]) {
		if ch.Kind == replica.Synced || !f.c.changed(x.GroupVersionResource, ch.Old, ch.New) {
			return
		}
		f.c.loop.Enqueue(keyOf(x.GroupVersionResource, ch.New))
	})
	return &followed{Resource: x, view: v, began: time.Now(), done: make(chan struct{})}, nil
}

// publish has the table show what came and went, runs the views that came, and ends those that went.
func (f *follower) publish(fresh, gone []*followed) {
	if len(fresh) == 0 && len(gone) == 0 {
		return
	}
	f.c.table.Store(f.fixed.with(f.kinds))
	for _, n := range fresh {
		f.log.Debug("a kind came", "resource", n.GroupResource().String(), "version", n.Version)
		ctx, cancel := context.WithCancel(f.ctx)
		n.cancel = cancel
		f.views.Go(func() {
			defer close(n.done)
			defer cancel()
			_ = n.view.Run(ctx) // it can fail only when it runs twice
		})
	}
	for _, k := range gone {
		f.log.Debug("a kind went", "resource", k.GroupResource().String(), "version", k.Version)
		k.cancel()
	}
	if len(fresh) == 0 {
		return
	}
	came := map[schema.GroupKind]bool{}
	for _, n := range fresh {
		came[n.GroupVersionKind().GroupKind()] = true
	}
	f.judgeAnew(came)
}

// judgeAnew has the objects reconciled that have owners of some kinds.
func (f *follower) judgeAnew(kinds map[schema.GroupKind]bool) {
	for gvr, v := range f.c.table.Load().views {
		for _, obj := range v.List("") {
			if slices.ContainsFunc(obj.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return kinds[kindOf(ref)] }) {
				f.c.loop.Enqueue(keyOf(gvr, obj))
			}
		}
	}
}

// noticed is told each change of an object: those of definitions and API services lead to a look, and when a definition
// is gone, so are all objects of its kind, whether a view told so or ended before.
func (f *follower) noticed(gr schema.GroupResource, before, after client.Object) {
	if gr != definitions && gr != apiServices {
		return
	}
	if gr == definitions && after == nil {
		if kind, ok := f.c.undefined.add(before); ok {
			f.judgeAnew(map[schema.GroupKind]bool{kind: true})
		}
	}
	f.poke()
}

// poke leads to a look soon.
func (f *follower) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // one is under way
	}
}

// ask leads to a look for the kind of an owner, unless there was one just now.
func (f *follower) ask() {
	f.askMu.Lock()
	defer f.askMu.Unlock()
	if now := time.Now(); now.Sub(f.asked) >= askGap {
		f.asked = now
		f.poke()
	}
}

// current returns once all kinds that there are when it is called are known and in view. Many callers share a look.
func (f *follower) current(ctx context.Context) error {
	if err := f.lookSince(ctx, time.Now()); err != nil {
		return err
	}
	return f.synced(ctx)
}

// synced waits until all views hold what there was when they began, each for a while at most: one that can't be had
// must not stop the rest.
func (f *follower) synced(ctx context.Context) error {
	for _, k := range f.c.table.Load().followed {
		select {
		case <-k.view.Ready():
			continue
		default:
		}
		late := time.NewTimer(time.Until(k.began.Add(patience)))
		select {
		case <-k.view.Ready():
		case <-k.done: // it went
		case <-late.C:
		case <-ctx.Done():
		}
		late.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
