// Package replica keeps one synced, indexed, read-only view of the objects of one kind. Against an
// API server in the same process the view holds pointers to the server's own objects; over HTTPS
// it is the one local copy.
package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// Config says what a Replica holds.
type Config[T client.Object] struct {
	Client client.Interface
	// Resource is the resource to watch; zero means the one that Client maps T to.
	Resource schema.GroupVersionResource
	// Namespace, LabelSelector and FieldSelector narrow the view; empty means all.
	Namespace, LabelSelector, FieldSelector string
	// Indexers name functions that tell the values under which an object is found by ByIndex.
	// They must be pure.
	Indexers map[string]func(T) []string
	// Logger receives what goes wrong with the watch; nil discards.
	Logger *slog.Logger
}

// ChangeKind tells what a Change is.
type ChangeKind uint8

// The kinds of changes.
const (
	// Added: the object is new to the view. After a broken watch the view is compared with a
	// new list, so an object can be Updated or Deleted without each step having been seen.
	Added ChangeKind = iota
	Updated
	Deleted
	// Synced: the view now holds everything that existed at the start. Comes once.
	Synced
)

// String returns the kind's name.
func (k ChangeKind) String() string {
	return [...]string{"Added", "Updated", "Deleted", "Synced"}[k]
}

// Change is one change of the view. The objects are shared and read-only.
type Change[T client.Object] struct {
	Kind ChangeKind
	// Old is the state before: zero when the object was added. New is the state after; when the
	// object was deleted it is zero, and Old is the last state that is known.
	Old, New T
}

// Replica is a view of one kind. Make it with New, subscribe, then Run it.
type Replica[T client.Object] struct {
	cfg   Config[T]
	ref   client.Ref
	log   *slog.Logger
	ready chan struct{}
	ran   atomic.Bool
	subs  []func(Change[T])

	mu      sync.RWMutex
	objects map[types.NamespacedName]T
	spaces  map[string]map[string]T // namespace -> name -> object
	indices map[string]map[string]map[types.NamespacedName]T

	// version is the resource version up to which the view is complete; only Run touches it.
	version string
}

// New returns a Replica that holds nothing until Run is called. The error tells which field of cfg
// is wrong.
func New[T client.Object](cfg Config[T]) (*Replica[T], error) {
	if cfg.Client == nil {
		return nil, errors.New("replica: Config.Client is nil")
	}
	cfg.Indexers = maps.Clone(cfg.Indexers)
	if cfg.Resource.Empty() {
		obj := client.New[T]()
		if any(obj) == nil {
			return nil, errors.New("replica: Config.Resource is empty and the type parameter is an interface")
		}
		gvr, err := cfg.Client.ResourceFor(obj)
		if err != nil {
			return nil, fmt.Errorf("replica: Config.Resource: %w", err)
		}
		cfg.Resource = gvr
	}
	if _, err := labels.Parse(cfg.LabelSelector); err != nil {
		return nil, fmt.Errorf("replica: Config.LabelSelector: %w", err)
	}
	if _, err := fields.ParseSelector(cfg.FieldSelector); err != nil {
		return nil, fmt.Errorf("replica: Config.FieldSelector: %w", err)
	}
	r := &Replica[T]{
		cfg:   cfg,
		ref:   client.Ref{GroupVersionResource: cfg.Resource, Namespace: cfg.Namespace},
		log:   cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)).With("resource", cfg.Resource.Resource),
		ready: make(chan struct{}),
	}
	r.reset()
	return r, nil
}

func (r *Replica[T]) reset() {
	r.objects = map[types.NamespacedName]T{}
	r.spaces = map[string]map[string]T{}
	r.indices = make(map[string]map[string]map[types.NamespacedName]T, len(r.cfg.Indexers))
	for name := range r.cfg.Indexers {
		r.indices[name] = map[string]map[types.NamespacedName]T{}
	}
}

// Subscribe makes f be called for each change, after the view shows it. All functions are called
// one after the other from Run's goroutine, so they must return quickly. Call it before Run.
func (r *Replica[T]) Subscribe(f func(Change[T])) { r.subs = append(r.subs, f) }

// Ready is closed once the view holds everything that existed when Run began.
func (r *Replica[T]) Ready() <-chan struct{} { return r.ready }

// Run keeps the view in step until ctx ends, and returns nil then. A lost connection is mended by
// itself. It can be called once.
func (r *Replica[T]) Run(ctx context.Context) error {
	if !r.ran.CompareAndSwap(false, true) {
		return errors.New("replica: Run was called before")
	}
	r.reflect(ctx)
	return nil
}

// Get returns one object of the view.
func (r *Replica[T]) Get(namespace, name string) (T, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	obj, ok := r.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	return obj, ok
}

// List returns the objects of a namespace, or all when it is empty, in no order.
func (r *Replica[T]) List(namespace string) []T {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if namespace == "" {
		return collect(r.objects)
	}
	return collect(r.spaces[namespace])
}

// ByIndex returns the objects that the named indexer files under value, in no order. An unknown
// index has none.
func (r *Replica[T]) ByIndex(index, value string) []T {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return collect(r.indices[index][value])
}

// Len returns the number of objects in the view.
func (r *Replica[T]) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.objects)
}

func collect[K comparable, T any](m map[K]T) []T {
	out := make([]T, 0, len(m))
	for _, obj := range m {
		out = append(out, obj)
	}
	return out
}
