package controller

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
)

// slot holds the one replica of a resource that a group's controllers share. What it is made of is
// collected until the group runs.
type slot struct {
	gvr      schema.GroupVersionResource
	indexers map[string]func(client.Object) []string
	subs     []func(replica.Change[client.Object])
	ready    chan struct{}
	replica  atomic.Pointer[replica.Replica[client.Object]]
}

func (s *slot) open(c client.Interface, log *slog.Logger) (*replica.Replica[client.Object], error) {
	r, err := replica.New(replica.Config[client.Object]{Client: c, Resource: s.gvr, Indexers: s.indexers, Logger: log})
	if err != nil {
		return nil, err
	}
	for _, f := range s.subs {
		r.Subscribe(f)
	}
	var once sync.Once
	r.Subscribe(func(ch replica.Change[client.Object]) {
		if ch.Kind == replica.Synced {
			once.Do(func() { close(s.ready) })
		}
	})
	s.replica.Store(r)
	return r, nil
}

// View is a group's shared, indexed, read-only view of one kind. It is empty until the group runs,
// and trails the API by the time that a change takes to arrive. Objects are shared: read them only.
type View[T client.Object] struct{ slot *slot }

// ViewOf returns the view of the objects of type T that the controllers of g share, such as
// ViewOf[*corev1.Pod](g). Ask for it before the group runs.
func ViewOf[T client.Object](g *Group) (*View[T], error) {
	return viewOf[T](g, schema.GroupVersionResource{})
}

// ViewOfResource is ViewOf for a resource that is known by name only; T may then be client.Object.
func ViewOfResource[T client.Object](g *Group, gvr schema.GroupVersionResource) (*View[T], error) {
	return viewOf[T](g, gvr)
}

func viewOf[T client.Object](g *Group, gvr schema.GroupVersionResource) (*View[T], error) {
	if gvr.Empty() {
		obj := client.New[T]()
		if any(obj) == nil {
			return nil, fmt.Errorf("controller: a view of an interface type needs a resource")
		}
		var err error
		if gvr, err = g.cfg.Client.ResourceFor(obj); err != nil {
			return nil, fmt.Errorf("controller: view of %T: %w", obj, err)
		}
	}
	s, err := g.slot(gvr)
	if err != nil {
		return nil, err
	}
	return &View[T]{slot: s}, nil
}

// Index makes ByIndex(name, value) find objects by the values that f returns for them. F must be
// pure. When two controllers add an index of the same name, the first one stays: equal names must
// mean equal functions. Call it before the group runs.
func (v *View[T]) Index(name string, f func(obj T) []string) {
	if _, ok := v.slot.indexers[name]; ok {
		return
	}
	v.slot.indexers[name] = func(obj client.Object) []string {
		if t, ok := obj.(T); ok {
			return f(t)
		}
		return nil
	}
}

// OnChange makes f be called for each change, after the view shows it, one after the other: f must
// return quickly. Call it before the group runs.
func (v *View[T]) OnChange(f func(replica.Change[T])) {
	v.slot.subs = append(v.slot.subs, func(ch replica.Change[client.Object]) {
		typed := replica.Change[T]{Kind: ch.Kind}
		typed.Old, _ = ch.Old.(T)
		typed.New, _ = ch.New.(T)
		f(typed)
	})
}

// Expect keeps e in step with the view. Call it before the group runs, and before a source on the same
// kind is added: what leads to a reconcile must be known to e by then.
func (v *View[T]) Expect(e *Expectations) {
	v.slot.subs = append(v.slot.subs, func(ch replica.Change[client.Object]) {
		if ch.Kind != replica.Synced {
			e.Observe(ch.Old, ch.New)
		}
	})
}

// Ready is closed once the view holds everything that existed when the group began to run.
func (v *View[T]) Ready() <-chan struct{} { return v.slot.ready }

// Get returns one object.
func (v *View[T]) Get(namespace, name string) (T, bool) {
	var zero T
	r := v.slot.replica.Load()
	if r == nil {
		return zero, false
	}
	obj, ok := r.Get(namespace, name)
	if !ok {
		return zero, false
	}
	t, ok := obj.(T)
	return t, ok
}

// List returns the objects of a namespace, or all when it is empty, in no order.
func (v *View[T]) List(namespace string) []T {
	r := v.slot.replica.Load()
	if r == nil {
		return nil
	}
	return typed[T](r.List(namespace))
}

// ByIndex returns the objects that the named index files under value, in no order.
func (v *View[T]) ByIndex(index, value string) []T {
	r := v.slot.replica.Load()
	if r == nil {
		return nil
	}
	return typed[T](r.ByIndex(index, value))
}

func typed[T client.Object](objs []client.Object) []T {
	out := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

func discard(log *slog.Logger) *slog.Logger {
	return cmp.Or(log, slog.New(slog.DiscardHandler))
}
