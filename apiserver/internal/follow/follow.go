// Package follow keeps a view of stored objects up to date without a goroutine: each reader first applies what the
// store's history has that the view has not. The view has all that was committed when a writer was told so, or a watcher
// saw it; a change that a read saw while the store was still telling its watchers may come an instant later. While
// nothing changes that costs one atomic load.
package follow

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// Store is what a follower needs of a store.
type Store interface {
	Range(ctx context.Context, r store.Range) (store.RangeResult, error)
	Watch(cfg store.WatchConfig) (*store.Watcher, error)
}

// Source is one kind of objects.
type Source struct {
	// Prefix begins the keys of all objects of the kind; the rest is NAME or NAMESPACE/NAME.
	Prefix string
	// Object decodes an entry.
	Object func(e *store.Entry) (client.Object, error)
}

// View is what is kept. Its methods are called under a lock; source is the index of a Source.
type View interface {
	// Reset forgets everything.
	Reset()
	// Put notes a new or changed object, which is shared and read-only. It may be the same as before.
	Put(source int, obj client.Object)
	// Remove forgets an object; namespace is empty for one without.
	Remove(source int, namespace, name string)
}

// Follower keeps a View up to date. Make it with New; it is safe for concurrent use.
type Follower struct {
	store   Store
	sources []Source
	view    View
	// news is set by the store, within its locks, when there is something to apply.
	news *atomic.Bool

	mu       sync.RWMutex
	watchers []*store.Watcher // one for each source; nil before the first read, and when history was lost
	closed   bool
}

// ErrClosed is what a closed Follower answers.
var ErrClosed = errors.New("the view is closed")

// New returns a follower that has read nothing yet.
func New(st Store, view View, sources ...Source) *Follower {
	return &Follower{store: st, sources: sources, view: view, news: &atomic.Bool{}}
}

// Close lets go of the store. What is read afterwards is ErrClosed.
func (f *Follower) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.release()
}

func (f *Follower) release() {
	for _, w := range f.watchers {
		w.Close()
	}
	f.watchers = nil
}

// Read brings the view up to date and calls fn while it stays as it is. An error means that the view could not be
// brought up to date; then fn is not called.
func (f *Follower) Read(ctx context.Context, fn func()) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.mu.RUnlock()
	fn()
	return nil
}

// lock brings the view up to date and, without an error, locks it for reading.
func (f *Follower) lock(ctx context.Context) error {
	for {
		f.mu.RLock()
		if f.watchers != nil && !f.news.Load() {
			return nil
		}
		f.mu.RUnlock()
		if err := f.update(ctx); err != nil {
			return err
		}
	}
}

// update applies all news.
func (f *Follower) update(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.watchers == nil {
		return f.load(ctx)
	}
	for f.news.Swap(false) {
		for i := range f.watchers {
			if f.apply(i) != nil {
				// What is missing is not kept any more, or an object can't be read.
				f.release()
				return f.load(ctx)
			}
		}
	}
	return nil
}

// apply applies what a source's watcher has.
func (f *Follower) apply(source int) error {
	for {
		batch, ok, err := f.watchers[source].TryNext()
		if err != nil || !ok {
			return err
		}
		for i := range batch.Events {
			if err := f.event(source, &batch.Events[i]); err != nil {
				return err
			}
		}
	}
}

func (f *Follower) event(source int, ev *store.Event) error {
	if ev.Type == store.EventDelete {
		rest := strings.TrimPrefix(ev.Entry.Key, f.sources[source].Prefix)
		namespace, name, namespaced := strings.Cut(rest, "/")
		if !namespaced {
			namespace, name = "", rest
		}
		f.view.Remove(source, namespace, name)
		return nil
	}
	return f.put(source, ev.Entry)
}

func (f *Follower) put(source int, e *store.Entry) error {
	obj, err := f.sources[source].Object(e)
	if err != nil {
		return err
	}
	f.view.Put(source, obj)
	return nil
}

// load reads everything and starts to watch.
func (f *Follower) load(ctx context.Context) error {
	f.view.Reset()
	news := &atomic.Bool{}
	watchers := make([]*store.Watcher, 0, len(f.sources))
	for i := range f.sources {
		w, err := f.loadSource(ctx, i, news)
		if err != nil {
			for _, w := range watchers {
				w.Close()
			}
			return err
		}
		watchers = append(watchers, w)
	}
	news.Store(true) // for what was stored between reading and watching
	f.watchers, f.news = watchers, news
	return nil
}

func (f *Follower) loadSource(ctx context.Context, source int, news *atomic.Bool) (*store.Watcher, error) {
	prefix := f.sources[source].Prefix
	end := store.PrefixEnd(prefix)
	res, err := f.store.Range(ctx, store.Range{Key: prefix, End: end, SkipCount: true})
	if err != nil {
		return nil, err
	}
	for _, e := range res.Entries {
		if err := f.put(source, e); err != nil {
			return nil, err
		}
	}
	return f.store.Watch(store.WatchConfig{Key: prefix, End: end, Revision: res.Revision + 1, Notify: func() { news.Store(true) }})
}
