package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
)

// Pauses after failures double from backoffMin to backoffMax, with up to half as much again at
// random, so that many replicas do not come back at once.
const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 30 * time.Second
	// A server ends watches after a while; asking for a random end spreads the renewals.
	watchMin = 5 * time.Minute
	pageSize = 500
)

// errRelist means that the watch cannot go on from the version at hand.
var errRelist = errors.New("the resource version is no longer kept")

// reflect lists and watches until ctx ends.
func (r *Replica[T]) reflect(ctx context.Context) {
	pause := backoffMin
	for ctx.Err() == nil {
		progress, err := r.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if progress {
			pause = backoffMin
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errRelist) {
			r.version = ""
		}
		r.log.Warn("watch broke off; trying again", "error", err, "pause", pause)
		wait := time.NewTimer(pause + rand.N(pause/2))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		pause = min(2*pause, backoffMax)
	}
}

// round lists if it must, then follows one watch to its end. Progress tells that something came of
// it; a nil error that the server ended the watch in good order.
func (r *Replica[T]) round(ctx context.Context) (progress bool, err error) {
	if r.version == "" {
		if err := r.list(ctx); err != nil {
			return false, fmt.Errorf("list %s: %w", r.ref, err)
		}
		progress = true
	}
	got, err := r.watch(ctx)
	return progress || got, err
}

// list reads everything, page by page of one snapshot, and makes the view equal to it.
func (r *Replica[T]) list(ctx context.Context) error {
	opts := metav1.ListOptions{LabelSelector: r.cfg.LabelSelector, FieldSelector: r.cfg.FieldSelector, Limit: pageSize}
	seen := map[types.NamespacedName]T{}
	for {
		l, err := r.cfg.Client.List(ctx, r.ref, opts)
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			obj, ok := o.(T)
			if !ok {
				return fmt.Errorf("the API answered with a %T, not a %T", o, *new(T))
			}
			seen[keyOf(obj)] = obj
		}
		if opts.Continue = l.Continue; opts.Continue == "" {
			r.replace(seen, l.ResourceVersion)
			return nil
		}
	}
}

// replace makes the view equal to seen.
func (r *Replica[T]) replace(seen map[types.NamespacedName]T, version string) {
	for _, old := range r.List("") {
		if _, ok := seen[keyOf(old)]; !ok {
			r.remove(keyOf(old), old, false)
		}
	}
	for key, obj := range seen {
		old, had := r.Get(key.Namespace, key.Name)
		if had && old.GetUID() != obj.GetUID() {
			r.remove(key, old, false)
			had = false
		}
		if !had || old.GetResourceVersion() != obj.GetResourceVersion() {
			r.put(obj)
		}
	}
	r.version = version
	select {
	case <-r.ready:
	default:
		close(r.ready)
		r.tell(Change[T]{Kind: Synced})
	}
}

// watch follows the changes after r.version.
func (r *Replica[T]) watch(ctx context.Context) (progress bool, err error) {
	timeout := int64((watchMin + rand.N(watchMin)).Seconds())
	w, err := r.cfg.Client.Watch(ctx, r.ref, metav1.ListOptions{
		LabelSelector: r.cfg.LabelSelector, FieldSelector: r.cfg.FieldSelector,
		ResourceVersion: r.version, AllowWatchBookmarks: true, TimeoutSeconds: &timeout,
	})
	if err != nil {
		return false, relistOr(err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return progress, nil
		case ev, ok := <-w.ResultChan():
			if !ok {
				if !progress {
					// Not a quiet stretch but an end without a word: do not spin.
					return false, errors.New("the server ended the watch")
				}
				return true, nil
			}
			if err := r.apply(ev); err != nil {
				return progress, err
			}
			progress = true
		}
	}
}

// apply brings one event into the view.
func (r *Replica[T]) apply(ev watch.Event) error {
	if ev.Type == watch.Error {
		return relistOr(apierrors.FromObject(ev.Object))
	}
	if ev.Type == watch.Bookmark {
		if o, ok := ev.Object.(client.Object); ok {
			r.version = o.GetResourceVersion()
		}
		return nil
	}
	obj, ok := ev.Object.(T)
	if !ok {
		return fmt.Errorf("the API sent a %T, not a %T", ev.Object, *new(T))
	}
	if ev.Type == watch.Deleted {
		r.remove(keyOf(obj), obj, true)
	} else {
		r.put(obj)
	}
	r.version = obj.GetResourceVersion()
	return nil
}

func relistOr(err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return fmt.Errorf("%w: %w", errRelist, err)
	}
	return err
}
