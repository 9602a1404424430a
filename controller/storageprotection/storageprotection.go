// Package storageprotection keeps claims, volumes and classes of volume attributes from going while they are in
// use: it takes away the finalizers that the API server's admission plugin StorageObjectInUseProtection gives
// them, once they are being deleted and nothing uses them any more
// (https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection). An object
// that has none, because it was made while the plugin was off, gets it here.
package storageprotection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// The finalizers, Kubernetes'.
const (
	ClaimFinalizer  = "kubernetes.io/pvc-protection"
	VolumeFinalizer = "kubernetes.io/pv-protection"
	ClassFinalizer  = "kubernetes.io/vac-protection"
)

// recheck is when to ask the API again about a use that no view shows: when the view missed all of it, no
// change will tell of its end.
const recheck = 5 * time.Second

// Config describes the controllers.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// WithoutVolumes is for servers that have no PersistentVolumes, WithoutClasses for those that have no
	// VolumeAttributesClasses of storage.k8s.io/v1, such as Kubernetes before 1.34.
	WithoutVolumes, WithoutClasses bool
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// New returns the controllers with views of their own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("storageprotection: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controllers to a group: one for each kind, with the name that it has in Kubernetes.
func Add(g *controller.Group, cfg Config) error {
	err := addClaims(g, cfg)
	if !cfg.WithoutVolumes {
		err = errors.Join(err, addVolumes(g, cfg))
	}
	if !cfg.WithoutClasses {
		err = errors.Join(err, addClasses(g, cfg))
	}
	if err != nil {
		return fmt.Errorf("storageprotection: %w", err)
	}
	return nil
}

func addVolumes(g *controller.Group, cfg Config) error {
	return add(g, cfg, "pv-protection", guard[*corev1.PersistentVolume]{
		finalizer: VolumeFinalizer,
		// The write is locked to the state that was judged, so that this needs no look at the API.
		inUse: func(_ context.Context, pv *corev1.PersistentVolume) (use, error) {
			if pv.Status.Phase == corev1.VolumeBound {
				return seen, nil
			}
			return none, nil
		},
	})
}

// use is what is known of an object's use.
type use int

const (
	none   use = iota
	seen       // a view shows it, and will show its end
	unseen     // the API has it, no view shows it yet
)

// guard reconciles the finalizer of one kind's objects.
type guard[T client.Object] struct {
	finalizer string
	inUse     func(ctx context.Context, obj T) (use, error)
	objects   *controller.View[T]
	typed     client.Typed[T]
}

// add adds the controller of a guard. Sources tell of ends of uses.
func add[T client.Object](g *controller.Group, cfg Config, name string, r guard[T], sources ...controller.Source) error {
	var err error
	if r.objects, err = controller.ViewOf[T](g); err != nil {
		return err
	}
	r.typed = client.For[T](g.ClientFor(name + "-controller"))
	own := controller.On[T]{Where: func(_, after T) bool {
		return !missing(after) && r.due(after)
	}}
	_, err = g.Add(controller.Config{Name: name, Reconciler: r, Sources: append(sources, own), Logger: cfg.Logger})
	return err
}

// due tells whether the finalizer may have to change: an object that stays lacks it, or one that is being
// deleted has it.
func (r guard[T]) due(obj T) bool {
	deleted := obj.GetDeletionTimestamp() != nil
	return slices.Contains(obj.GetFinalizers(), r.finalizer) == deleted
}

// Reconcile implements controller.Reconciler.
func (r guard[T]) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	obj, ok := r.objects.Get(key.Namespace, key.Name)
	if !ok || !r.due(obj) {
		return controller.Result{}, nil
	}
	finalizers := slices.Clone(obj.GetFinalizers())
	if obj.GetDeletionTimestamp() == nil {
		finalizers = append(finalizers, r.finalizer)
	} else {
		used, err := r.inUse(ctx, obj)
		switch {
		case err != nil:
			return controller.Result{}, fmt.Errorf("look for what uses %s: %w", key, err)
		case used == seen:
			return controller.Result{}, nil
		case used == unseen:
			return controller.Result{After: recheck}, nil
		}
		finalizers = slices.DeleteFunc(finalizers, func(f string) bool { return f == r.finalizer })
	}
	changed, ok := obj.DeepCopyObject().(T)
	if !ok {
		return controller.Result{}, fmt.Errorf("the copy of a %T is another type", obj)
	}
	changed.SetFinalizers(finalizers)
	// Not a patch: Kubernetes' default roles let these controllers update only.
	if _, err := r.typed.Update(ctx, changed); err != nil && !apierrors.IsNotFound(err) {
		return controller.Result{}, fmt.Errorf("change the finalizers of %s: %w", key, err)
	}
	return controller.Result{}, nil
}

// usedBy asks the view first and then, when that shows nothing, the API: what was just made may not be in the
// view yet.
func usedBy[T client.Object](ctx context.Context, shown []T, c client.Typed[T], namespace string, uses func(T) bool) (use, error) {
	if slices.ContainsFunc(shown, uses) {
		return seen, nil
	}
	list, err := c.List(ctx, namespace, metav1.ListOptions{})
	if err != nil {
		return none, err
	}
	if slices.ContainsFunc(list.Items, uses) {
		return unseen, nil
	}
	return none, nil
}

// missing tells whether a source has no object: obj is T's zero value.
func missing[T client.Object](obj T) bool { return client.Object(obj) == client.Object(*new(T)) }

// gone tells that an object went, or that another of its name took its place.
func gone[T client.Object](before, after T) bool {
	return !missing(before) && (missing(after) || before.GetUID() != after.GetUID())
}
