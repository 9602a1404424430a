// Package events records Kubernetes Events (core/v1) for components: what happened to an object,
// for people to read with kubectl describe and kubectl events.
package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

const (
	// queueSize bounds what waits to be written; what does not fit is dropped and counted. client-go's recorder keeps
	// 1,000; a scheduler in the API server's process places more pods in a tenth of a second.
	queueSize = 8192
	// maxBatch bounds how many events are stored at once, where the client can do that.
	maxBatch = 64
	// flushTime bounds the writing of what is left when the recorder stops.
	flushTime = time.Second
)

// Config says who records.
type Config struct {
	Client client.Interface
	// Component is the source, such as "kubelet"; Host its node, if it has one.
	Component, Host string
	// Logger receives events that could not be written; nil discards.
	Logger *slog.Logger
}

// Recorder writes events in the background, in order. An event that repeats an earlier one counts
// that one up instead of making another.
type Recorder struct {
	events client.Typed[*corev1.Event]
	cfg    Config
	log    *slog.Logger
	// batcher is not nil when the client can store many events at once.
	batcher client.Batcher
	queue   chan *corev1.Event
	dropped atomic.Int64
	names   atomic.Int64
	seen    *series
}

// New returns a Recorder that queues events until Run writes them.
func New(cfg Config) (*Recorder, error) {
	if cfg.Client == nil {
		return nil, errors.New("events: Config.Client is nil")
	}
	if cfg.Component == "" {
		return nil, errors.New("events: Config.Component is empty")
	}
	r := &Recorder{
		events: client.For[*corev1.Event](cfg.Client),
		cfg:    cfg,
		log:    cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		queue:  make(chan *corev1.Event, queueSize),
		seen:   newSeries(),
	}
	if _, err := r.events.Resource(); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	r.batcher, _ = cfg.Client.(client.Batcher)
	return r, nil
}

// Event records that something happened to obj. EventType is "Normal" or "Warning". It never
// blocks: when too many events wait, the event is dropped. A nil Recorder drops everything.
func (r *Recorder) Event(obj client.Object, eventType, reason, message string) {
	if r == nil {
		return
	}
	now := time.Now()
	e := &corev1.Event{
		InvolvedObject:      r.reference(obj),
		Type:                eventType,
		Reason:              reason,
		Message:             message,
		Source:              corev1.EventSource{Component: r.cfg.Component, Host: r.cfg.Host},
		ReportingController: r.cfg.Component,
		ReportingInstance:   r.cfg.Host,
		FirstTimestamp:      metav1.NewTime(now),
		LastTimestamp:       metav1.NewTime(now),
		Count:               1,
	}
	e.Namespace = cmp.Or(obj.GetNamespace(), metav1.NamespaceDefault)
	e.Name = fmt.Sprintf("%s.%x%04x", obj.GetName(), now.UnixNano(), r.names.Add(1)&0xffff)
	select {
	case r.queue <- e:
	default:
		r.dropped.Add(1)
	}
}

// Eventf is Event with a message made by fmt.Sprintf.
func (r *Recorder) Eventf(obj client.Object, eventType, reason, format string, args ...any) {
	if r != nil {
		r.Event(obj, eventType, reason, fmt.Sprintf(format, args...))
	}
}

// FieldPath returns obj as an event's target with a path into it, such as
// "spec.containers{web}": pass the result to Event in obj's place.
func FieldPath(obj client.Object, path string) client.Object { return pathed{obj, path} }

type pathed struct {
	client.Object
	path string
}

func (r *Recorder) reference(obj client.Object) corev1.ObjectReference {
	var path string
	if p, ok := obj.(pathed); ok {
		obj, path = p.Object, p.path
	}
	gvk := r.kindOf(obj)
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	return corev1.ObjectReference{
		APIVersion: apiVersion, Kind: kind, FieldPath: path,
		Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(),
	}
}

// kindOf finds the kind of objects whose TypeMeta is empty by their Go type.
func (r *Recorder) kindOf(obj runtime.Object) schema.GroupVersionKind {
	if gvk := obj.GetObjectKind().GroupVersionKind(); gvk.Kind != "" {
		return gvk
	}
	gvr, err := r.cfg.Client.ResourceFor(obj)
	if err != nil {
		return schema.GroupVersionKind{}
	}
	return gvr.GroupVersion().WithKind(typeName(obj))
}

// Run writes events until ctx ends, then what is still queued, for a second at most.
func (r *Recorder) Run(ctx context.Context) error {
	// Writes outlive ctx for that second: an event under way is not to be lost either.
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		end := time.AfterFunc(flushTime, cancel)
		context.AfterFunc(writing, func() { end.Stop() })
	})()
	for {
		select {
		case e := <-r.queue:
			r.writeFrom(writing, e)
			continue
		default:
		}
		select {
		case e := <-r.queue:
			r.writeFrom(writing, e)
		case <-ctx.Done():
			if len(r.queue) == 0 || writing.Err() != nil {
				return nil
			}
		}
	}
}

// writeFrom writes an event and, where the client can store many at once, some of those that wait behind it.
func (r *Recorder) writeFrom(ctx context.Context, e *corev1.Event) {
	if n := r.dropped.Swap(0); n > 0 {
		r.log.Warn("events were dropped: too many waited to be written", "count", n)
	}
	if r.batcher == nil || len(r.queue) == 0 {
		r.write(ctx, e)
		return
	}
	batch := make([]*corev1.Event, 0, maxBatch)
	isNew := map[key]bool{}
	for {
		k := keyOf(e)
		if _, again := r.seen.get(k); again || isNew[k] {
			// It has to follow what came before it.
			r.create(ctx, batch)
			r.write(ctx, e)
			batch = batch[:0]
		} else {
			batch, isNew[k] = append(batch, e), true
		}
		if len(batch) == maxBatch {
			break
		}
		select {
		case e = <-r.queue:
			continue
		default:
		}
		break
	}
	r.create(ctx, batch)
}

// create stores events of which each is the first of its kind.
func (r *Recorder) create(ctx context.Context, batch []*corev1.Event) {
	if len(batch) == 0 {
		return
	}
	series := make([][]client.Write, len(batch))
	for i, e := range batch {
		series[i] = []client.Write{{Ref: r.events.Ref(e.Namespace, ""), Create: e}}
	}
	for i, err := range r.batcher.Batch(ctx, series) {
		if err != nil {
			r.lost(batch[i], err)
			continue
		}
		r.seen.put(keyOf(batch[i]), entry{name: batch[i].Name, count: 1})
	}
}

// write stores one event, or counts an equal one up.
func (r *Recorder) write(ctx context.Context, e *corev1.Event) {
	key := keyOf(e)
	if prev, ok := r.seen.get(key); ok {
		prev.count++
		patch, err := json.Marshal(map[string]any{
			"count": prev.count, "lastTimestamp": e.LastTimestamp, "message": e.Message,
		})
		if err == nil {
			_, err = r.events.Patch(ctx, e.Namespace, prev.name, types.MergePatchType, patch, "")
		}
		if err == nil {
			r.seen.put(key, prev)
			return
		}
		if !apierrors.IsNotFound(err) {
			r.lost(e, err)
			return
		}
	}
	if _, err := r.events.Create(ctx, e); err != nil {
		r.lost(e, err)
		return
	}
	r.seen.put(key, entry{name: e.Name, count: 1})
}

func (r *Recorder) lost(e *corev1.Event, err error) {
	// An event about an object in a namespace that is being deleted is of no use to anyone.
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return
	}
	r.log.Warn("event not recorded", "reason", e.Reason, "object", e.InvolvedObject.Name, "error", err)
}
