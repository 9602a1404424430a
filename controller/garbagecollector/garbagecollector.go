// Package garbagecollector collects objects whose owners are gone, by their owner references: in the
// background, before their owner (foreground), or not at all (orphan), as the deletion of the owner
// asked. See https://kubernetes.io/docs/concepts/architecture/garbage-collection/.
package garbagecollector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Resources are resources whose objects own or are owned, served as long as the controller runs, and whose
	// views it shares with others of its group; nil is the built-in kinds. Each costs a watch. Events and Leases,
	// which come and go by themselves, are passed over.
	Resources []controller.Resource
	// Discover tells which resources there are besides, such as those that users define. It is asked when
	// definitions or API services change, when an object has an owner of an unknown kind, and every Resync: kinds
	// may come and go. Nil is none besides Resources.
	Discover controller.Resources
	// Resync is how often Discover is asked at least; 0 is DefaultResync.
	Resync time.Duration
	// Workers is how many objects may be looked at at once; 0 is the default.
	Workers int
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// DefaultResync is kube-controller-manager's.
const DefaultResync = 30 * time.Second

// dependentIndex files objects under the UIDs of all their owners.
const dependentIndex = "garbagecollector/dependents"

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("garbagecollector: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	if cfg.Resources == nil {
		cfg.Resources = controller.Builtin()
	}
	cfg.Resync = cmp.Or(cfg.Resync, DefaultResync)
	if cfg.Resync < 0 {
		return fmt.Errorf("garbagecollector: Config.Resync is negative: %s", cfg.Resync)
	}
	c := &collector{client: g.ClientFor("generic-garbage-collector")}
	fixed := newTable()
	var sources []controller.Source
	for _, x := range cfg.Resources {
		fixed.byKind[x.GroupVersionKind().GroupKind()] = x
		if passedOver(x) {
			continue
		}
		v, err := controller.ViewOfResource[client.Object](g, x.GroupVersionResource)
		if err != nil {
			return fmt.Errorf("garbagecollector: %w", err)
		}
		v.Index(dependentIndex, ownersOf)
		fixed.views[x.GroupVersionResource] = v
		sources = append(sources, c.source(x.GroupVersionResource))
	}
	c.table.Store(fixed)
	if cfg.Discover != nil {
		c.found = newFollower(c, g, cfg, fixed)
		sources = append(sources, controller.Until(c.found.ready))
		if err := g.Go(c.found.run); err != nil {
			return fmt.Errorf("garbagecollector: %w", err)
		}
	}
	loop, err := g.Add(controller.Config{
		Name: "garbagecollector", Reconciler: c, Sources: sources, Workers: cfg.Workers, Logger: cfg.Logger,
	})
	c.loop = loop
	return err
}

// passedOver tells that the objects of a resource are not collected.
func passedOver(x controller.Resource) bool {
	switch x.GroupResource() {
	case schema.GroupResource{Resource: "events"}, schema.GroupResource{Group: "events.k8s.io", Resource: "events"},
		schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}:
		return true
	}
	return false
}

// collector holds no graph: the views, indexed by owner, are the graph.
type collector struct {
	client client.Interface
	loop   *controller.Controller
	table  atomic.Pointer[table]
	found  *follower // nil when the resources are fixed
	absent absences

	undefined undefined
}

func ownersOf(obj client.Object) []string {
	var uids []string
	for _, ref := range obj.GetOwnerReferences() {
		uids = append(uids, string(ref.UID))
	}
	return uids
}

// source reconciles what a change may concern.
func (c *collector) source(gvr schema.GroupVersionResource) controller.Source {
	return controller.On[client.Object]{
		Resource: gvr,
		Where:    func(before, after client.Object) bool { return c.changed(gvr, before, after) },
		Keys:     func(obj client.Object) []controller.Key { return []controller.Key{keyOf(gvr, obj)} },
	}
}

// changed has all reconciled that a change of an object may concern: its dependents, when it is gone or waits for
// them, and its owners, when they wait; and tells whether the object itself is, which it is when it has owners or
// waits for its dependents.
func (c *collector) changed(gvr schema.GroupVersionResource, before, after client.Object) bool {
	switch {
	case after == nil:
		c.absent.add(before.GetUID())
		c.enqueueDependents(before.GetUID())
		c.enqueueOwners(before)
	case waits(after) && (before == nil || !waits(before)):
		c.enqueueDependents(after.GetUID())
	case before != nil && !slices.EqualFunc(before.GetOwnerReferences(), after.GetOwnerReferences(), sameRef):
		c.enqueueOwners(before)
	}
	if c.found != nil {
		c.found.noticed(gvr.GroupResource(), before, after)
	}
	return after != nil && (len(after.GetOwnerReferences()) > 0 || waits(after) || orphans(after))
}

func keyOf(gvr schema.GroupVersionResource, obj metav1.Object) controller.Key {
	return controller.Key{Resource: gvr, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func sameRef(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && blocks(a) == blocks(b)
}

func blocks(ref metav1.OwnerReference) bool {
	return ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
}

// waits tells that an object is deleted once its dependents are (foreground deletion).
func waits(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() != nil && slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents)
}

// orphans tells that an object is deleted once its dependents are let go.
func orphans(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() != nil && slices.Contains(obj.GetFinalizers(), metav1.FinalizerOrphanDependents)
}

// dependent is an object and the resource that it is of.
type dependent struct {
	client.Object
	gvr schema.GroupVersionResource
}

// dependents returns the objects that name uid as an owner.
func (c *collector) dependents(uid types.UID) []dependent {
	var out []dependent
	for gvr, v := range c.table.Load().views {
		for _, obj := range v.ByIndex(dependentIndex, string(uid)) {
			out = append(out, dependent{obj, gvr})
		}
	}
	return out
}

func (c *collector) enqueueDependents(uid types.UID) {
	for _, d := range c.dependents(uid) {
		c.loop.Enqueue(keyOf(d.gvr, d))
	}
}

// enqueueOwners has owners that wait look again.
func (c *collector) enqueueOwners(obj client.Object) {
	for _, ref := range obj.GetOwnerReferences() {
		if x, ok := c.resourceOf(ref); ok && blocks(ref) {
			namespace := obj.GetNamespace()
			if !x.Namespaced {
				namespace = ""
			}
			c.loop.Enqueue(controller.Key{Resource: x.GroupVersionResource, Namespace: namespace, Name: ref.Name})
		}
	}
}

// kindOf returns the kind of an owner; it is zero when the reference makes no sense.
func kindOf(ref metav1.OwnerReference) schema.GroupKind {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return schema.GroupKind{}
	}
	return schema.GroupKind{Group: gv.Group, Kind: ref.Kind}
}

func (c *collector) resourceOf(ref metav1.OwnerReference) (controller.Resource, bool) {
	x, ok := c.table.Load().byKind[kindOf(ref)]
	return x, ok
}

// Reconcile implements controller.Reconciler.
func (c *collector) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	v, ok := c.table.Load().views[key.Resource]
	if !ok {
		return controller.Result{}, nil // a kind that is not watched
	}
	obj, ok := v.Get(key.Namespace, key.Name)
	if !ok {
		return controller.Result{}, nil
	}
	var errs []error
	if orphans(obj) {
		errs = append(errs, c.letGo(ctx, key, obj))
	} else if waits(obj) {
		errs = append(errs, c.awaitDependents(ctx, key, obj))
	}
	if len(obj.GetOwnerReferences()) > 0 {
		errs = append(errs, c.judge(ctx, key, obj))
	}
	return controller.Result{}, errors.Join(errs...)
}

// ignore drops errors after which the next change of the object decides anew.
func ignore(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
