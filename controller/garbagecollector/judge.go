package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// verdict sorts an object's owners by what they mean for it.
type verdict struct {
	solid    []metav1.OwnerReference // exist, or can't be looked up: they keep the object
	dangling []metav1.OwnerReference // do not exist
	waiting  []metav1.OwnerReference // exist, deleted once their dependents are
}

// judge deletes an object that no owner keeps.
func (c *collector) judge(ctx context.Context, key controller.Key, obj client.Object) error {
	if obj.GetDeletionTimestamp() != nil {
		return nil
	}
	v, err := c.classify(ctx, obj)
	if err != nil {
		return err
	}
	switch {
	case len(v.dangling) == 0 && len(v.waiting) == 0:
		return nil
	case len(v.solid) > 0:
		// Others keep the object: it only loses the references that mean nothing any more.
		return ignore(c.setOwners(ctx, key, obj, v.solid))
	case len(v.waiting) > 0:
		if deps := c.dependents(obj.GetUID()); len(deps) > 0 {
			return c.deleteForeground(ctx, key, obj, deps)
		}
	}
	policy := metav1.DeletePropagationBackground
	switch {
	case slices.Contains(obj.GetFinalizers(), metav1.FinalizerOrphanDependents):
		policy = metav1.DeletePropagationOrphan
	case slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents):
		policy = metav1.DeletePropagationForeground
	}
	return c.delete(ctx, key, obj, policy)
}

func (c *collector) classify(ctx context.Context, obj client.Object) (verdict, error) {
	var v verdict
	for _, ref := range obj.GetOwnerReferences() {
		owner, exists, err := c.owner(ctx, obj, ref)
		switch {
		case err != nil:
			return v, err
		case !exists:
			v.dangling = append(v.dangling, ref)
		case owner != nil && waits(owner):
			v.waiting = append(v.waiting, ref)
		default:
			v.solid = append(v.solid, ref)
		}
	}
	return v, nil
}

// owner looks an owner up: in the view, and when that lacks it, at the API, since the view of the
// owner's kind may trail that of the object's. Owners of kinds that are unknown or not served count as existing.
func (c *collector) owner(ctx context.Context, obj client.Object, ref metav1.OwnerReference) (owner metav1.Object, exists bool, err error) {
	namespace := obj.GetNamespace()
	x, ok := c.resourceOf(ref)
	switch {
	case c.undefined.has(kindOf(ref), obj):
		return nil, false, nil
	case !ok:
		c.missing()
		return nil, true, nil
	case !x.Namespaced:
		namespace = ""
	case namespace == "":
		return nil, true, nil // a cluster-scoped object can't have such an owner; leave it alone
	}
	if v, ok := c.table.Load().views[x.GroupVersionResource]; ok {
		if found, ok := v.Get(namespace, ref.Name); ok && found.GetUID() == ref.UID {
			return found, true, nil
		}
	}
	if c.absent.has(ref.UID) {
		return nil, false, nil
	}
	gvr := x.GroupVersionResource
	got, err := c.client.Get(ctx, client.Ref{GroupVersionResource: gvr, Namespace: namespace, Name: ref.Name}, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && !ofObject(err, ref.Name):
		c.missing()
		return nil, true, nil
	case err != nil && !apierrors.IsNotFound(err):
		return nil, false, fmt.Errorf("look for owner %s %s: %w", ref.Kind, ref.Name, err)
	}
	if m, ok := got.(metav1.Object); err == nil && ok && m.GetUID() == ref.UID {
		return m, true, nil
	}
	c.absent.add(ref.UID)
	return nil, false, nil
}

// missing has it looked for an owner's kind.
func (c *collector) missing() {
	if c.found != nil {
		c.found.ask()
	}
}

// ofObject tells that an error is about an object, not about a path that the server does not serve.
func ofObject(err error, name string) bool {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return false
	}
	d := s.Status().Details
	return d != nil && d.Name == name && !slices.ContainsFunc(d.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}

// deleteForeground has obj wait for its dependents, as its owner waits for all below it. When one of
// them waits as well, obj may be above and below it at once: obj then stops blocking its owners, or
// a circle would wait forever.
func (c *collector) deleteForeground(ctx context.Context, key controller.Key, obj client.Object, deps []dependent) error {
	circle := slices.ContainsFunc(deps, func(d dependent) bool { return waits(d) })
	if circle && slices.ContainsFunc(obj.GetOwnerReferences(), blocks) {
		refs := slices.Clone(obj.GetOwnerReferences())
		for i := range refs {
			refs[i].BlockOwnerDeletion = new(bool)
		}
		return ignore(c.setOwners(ctx, key, obj, refs)) // the change has it judged again
	}
	return c.delete(ctx, key, obj, metav1.DeletePropagationForeground)
}

// delete deletes obj if it still is in the state that it was judged in.
func (c *collector) delete(ctx context.Context, key controller.Key, obj client.Object, policy metav1.DeletionPropagation) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := c.client.Delete(ctx, refOf(key), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		PropagationPolicy: &policy,
	})
	return ignore(err)
}

func refOf(key controller.Key) client.Ref {
	return client.Ref{GroupVersionResource: key.Resource, Namespace: key.Namespace, Name: key.Name}
}

func (c *collector) setOwners(ctx context.Context, key controller.Key, obj client.Object, refs []metav1.OwnerReference) error {
	return c.patch(ctx, key, obj, "ownerReferences", refs)
}

func (c *collector) patch(ctx context.Context, key controller.Key, obj client.Object, field string, value any) error {
	patch, err := controller.MetadataPatch(obj, map[string]any{field: value})
	if err != nil {
		return err
	}
	_, err = c.client.Patch(ctx, refOf(key), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// awaitDependents lets an object go once no dependent that blocks it is left, and has those that
// are left judged.
func (c *collector) awaitDependents(ctx context.Context, key controller.Key, obj client.Object) error {
	if c.found != nil {
		if err := c.found.synced(ctx); err != nil {
			return err
		}
	}
	blocked := false
	for _, d := range c.dependents(obj.GetUID()) {
		for _, ref := range d.GetOwnerReferences() {
			if ref.UID == obj.GetUID() && blocks(ref) {
				blocked = true
				c.loop.Enqueue(keyOf(d.gvr, d))
			}
		}
	}
	if blocked {
		return nil
	}
	// The views may not show a dependent that was made just now; it will be found dangling.
	return c.removeFinalizer(ctx, key, obj, metav1.FinalizerDeleteDependents)
}

// letGo takes the reference to obj off its dependents, then lets obj go. A dependent that it does not know of would be
// collected later, so all kinds must be known.
func (c *collector) letGo(ctx context.Context, key controller.Key, obj client.Object) error {
	if c.found != nil {
		if err := c.found.current(ctx); err != nil {
			return err
		}
	}
	deps := c.dependents(obj.GetUID())
	err := controller.Parallel(len(deps), func(i int) error {
		refs := slices.DeleteFunc(slices.Clone(deps[i].GetOwnerReferences()), func(ref metav1.OwnerReference) bool {
			return ref.UID == obj.GetUID()
		})
		return ignore(c.setOwners(ctx, keyOf(deps[i].gvr, deps[i]), deps[i].Object, refs))
	})
	if err != nil {
		return err
	}
	return c.removeFinalizer(ctx, key, obj, metav1.FinalizerOrphanDependents)
}

func (c *collector) removeFinalizer(ctx context.Context, key controller.Key, obj client.Object, name string) error {
	left := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return f == name })
	if left == nil {
		left = []string{}
	}
	return ignore(c.patch(ctx, key, obj, "finalizers", left))
}
