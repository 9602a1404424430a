package apiserver

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// bookmarkEvery is the pause after which a watch without changes gets a bookmark.
const bookmarkEvery = time.Minute

// change is one event of a watch. What a bookmark is about is not stored.
type change struct {
	typ watch.EventType
	found
}

// watcher is a cursor over the changes that a watch asks for. It needs no goroutine.
type watcher struct {
	sel       *selector
	src       *store.Watcher
	pending   []change
	bookmarks bool
	// sent is the revision that the client knows of.
	sent int64
	// failed ends the watch.
	failed error
}

// watch begins a watch. The caller closes it.
func (s *Server) watch(ctx context.Context, rq *request, opts *metav1.ListOptions) (*watcher, error) {
	if err := checkListOptions(opts, true); err != nil {
		return nil, err
	}
	sel, err := rq.newSelector(opts)
	if err != nil {
		return nil, err
	}
	revision, err := parseVersion(opts.ResourceVersion)
	if err != nil {
		return nil, unreasoned("resourceVersion: Invalid value: %q: %v", opts.ResourceVersion, err)
	}
	w := &watcher{sel: sel, bookmarks: opts.AllowWatchBookmarks, sent: revision}
	initial := revision == 0
	if opts.SendInitialEvents != nil {
		initial = *opts.SendInitialEvents
	}
	switch {
	case initial:
		err = s.watchInitial(ctx, w, opts)
	case revision == 0:
		w.sent = s.store.Revision()
	}
	if err != nil {
		return nil, err
	}
	w.src, err = s.store.Watch(store.WatchConfig{Key: sel.key, End: sel.end, Revision: w.sent + 1, Prev: true})
	if err != nil {
		return nil, storeError(err, w.sent)
	}
	return w, nil
}

// watchInitial readies the events that tell what exists already.
func (s *Server) watchInitial(ctx context.Context, w *watcher, opts *metav1.ListOptions) error {
	if err := s.notOlderThan(ctx, opts.ResourceVersion); err != nil {
		return err
	}
	l, err := s.collect(ctx, w.sel, 0, w.sel.key, 0)
	if err != nil {
		return err
	}
	w.sent = l.revision
	for _, f := range l.items {
		w.pending = append(w.pending, change{watch.Added, f})
	}
	if opts.SendInitialEvents != nil && w.bookmarks {
		b := w.bookmark(l.revision)
		b.obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		w.pending = append(w.pending, b)
	}
	return nil
}

// whenGone calls stop when the resource is not served any more, unless forget is called before.
func (r *resource) whenGone(stop func()) (forget func() bool) {
	if r.gone == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(r.gone, stop)
}

func (w *watcher) close() { w.src.Close() }

// bookmark returns an event that tells nothing but the revision.
func (w *watcher) bookmark(revision int64) change {
	obj := w.sel.as.new()
	obj.SetResourceVersion(formatVersion(revision))
	return change{watch.Bookmark, found{obj: obj}}
}

// next returns the next changes, at least one. The error is ctx's, or one of the API.
func (w *watcher) next(ctx context.Context) ([]change, error) {
	if len(w.pending) > 0 {
		out := w.pending
		w.pending = nil
		return out, nil
	}
	for {
		if w.failed != nil {
			return nil, w.failed
		}
		batch, err := w.wait(ctx)
		switch {
		case err == nil:
			out, err := w.changes(batch)
			if err != nil || len(out) > 0 {
				return out, err
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if at := w.src.Progress(); at > w.sent {
				w.sent = at
				return []change{w.bookmark(at)}, nil
			}
		case errors.Is(err, store.ErrCompacted):
			return nil, storeError(err, w.sent)
		default:
			return nil, err
		}
	}
}

// ready returns further changes if there are some already. An error shows again with next.
func (w *watcher) ready() []change {
	for range 16 { // changes that the watch does not show
		batch, ok, err := w.src.TryNext()
		if !ok || err != nil {
			return nil
		}
		out, err := w.changes(batch)
		if err != nil {
			w.failed = err
			return nil
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// wait waits for the next batch, with bookmarks until the next one is due.
func (w *watcher) wait(ctx context.Context) (store.Batch, error) {
	if !w.bookmarks {
		return w.src.Next(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, bookmarkEvery)
	defer cancel()
	return w.src.Next(ctx)
}

// changes turns what a transaction did into what the watch shows of it.
func (w *watcher) changes(b store.Batch) ([]change, error) {
	w.sent = b.Revision
	var out []change
	for i := range b.Events {
		c, err := w.change(&b.Events[i])
		if err != nil {
			return nil, err
		}
		if c.typ != "" {
			out = append(out, c)
		}
	}
	return out, nil
}

// change turns one event into what the watch shows of it; without a type it is nothing.
func (w *watcher) change(ev *store.Event) (change, error) {
	var is, was bool
	var err error
	now, last := w.sel.res.found(ev.Entry), found{res: w.sel.res, state: ev.Prev, at: ev.Entry}
	if ev.Type == store.EventPut {
		if is, err = w.sel.selects(&now); err != nil {
			return change{}, err
		}
	}
	if ev.Prev != nil {
		before := w.sel.res.found(ev.Prev)
		if was, err = w.sel.selects(&before); err != nil {
			return change{}, err
		}
	}
	switch {
	case is && was:
		return change{watch.Modified, now}, nil
	case is:
		return change{watch.Added, now}, nil
	case was:
		return change{watch.Deleted, last}, nil
	}
	return change{}, nil
}

// lastKey is the key under which an entry keeps the state of the object before it, at its revision.
type lastKey struct{}

// last returns the state before an event with the event's revision, as DELETED events show it.
func (r *resource) last(at, state *store.Entry) (client.Object, error) {
	last := func() (client.Object, error) {
		was, err := r.object(state)
		if err != nil {
			return nil, err
		}
		c := r.shallow(was)
		c.SetResourceVersion(formatVersion(at.ModRevision))
		return c, nil
	}
	if r.Custom != nil {
		return r.custom(at, customKey{r, true}, last)
	}
	v, err := at.Cached(lastKey{}, func(*store.Entry) (any, error) { return last() })
	if err != nil {
		return nil, err
	}
	return v.(client.Object), nil
}

// watchError returns the ERROR event that ends a watch.
func watchError(err error) watch.Event {
	status := asStatus(err).ErrStatus
	if apierrors.IsResourceExpired(err) {
		status.Reason = metav1.StatusReasonExpired
	}
	return watch.Event{Type: watch.Error, Object: &status}
}
