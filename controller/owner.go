package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// OwnerIndex is the index that IndexOwners adds.
const OwnerIndex = "controller"

// IndexOwners adds OwnerIndex to a view, for Owned and Orphans.
func IndexOwners[T client.Object](v *View[T]) {
	v.Index(OwnerIndex, func(obj T) []string {
		if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
			return []string{string(ref.UID)}
		}
		return []string{orphansOf(obj.GetNamespace())}
	})
}

// orphansOf can't be a UID, because of the slash.
func orphansOf(namespace string) string { return "/" + namespace }

// Owned returns the objects whose controller has the given UID. The view needs IndexOwners.
func Owned[T client.Object](v *View[T], uid types.UID) []T { return v.ByIndex(OwnerIndex, string(uid)) }

// Orphans returns the objects of a namespace that have no controller. The view needs IndexOwners.
func Orphans[T client.Object](v *View[T], namespace string) []T {
	return v.ByIndex(OwnerIndex, orphansOf(namespace))
}

// Claim settles which objects belong to an owner that selects by labels, as ReplicaSet and
// Deployment do: orphans that match are adopted, objects that match no more are released.
type Claim[T client.Object] struct {
	Client client.Interface
	// Owner is the owner as last seen, Kind its kind.
	Owner    client.Object
	Kind     schema.GroupVersionKind
	Selector labels.Selector
}

// Settle adopts and releases among candidates, and returns those that belong to the owner. An error
// means that the result is incomplete, such as a Conflict for an orphan that just changed: count
// nothing on it, but try again.
func (c Claim[T]) Settle(ctx context.Context, candidates []T) ([]T, error) {
	var mine []T
	var errs []error
	alive := c.alive()
	for _, obj := range candidates {
		ref := metav1.GetControllerOfNoCopy(obj)
		matches := c.Selector.Matches(labels.Set(obj.GetLabels()))
		switch {
		case ref != nil && ref.UID != c.Owner.GetUID():
		case ref != nil && matches:
			mine = append(mine, obj)
		case ref != nil:
			if c.Owner.GetDeletionTimestamp() == nil {
				errs = append(errs, c.release(ctx, obj))
			}
		case matches && obj.GetDeletionTimestamp() == nil && c.Owner.GetDeletionTimestamp() == nil:
			adopted, err := c.adopt(ctx, obj, alive)
			if adopted {
				mine = append(mine, obj)
			}
			errs = append(errs, err)
		}
	}
	return mine, errors.Join(errs...)
}

// alive returns a function that asks the API, once, whether the owner still exists: a view that
// trails must not make an owner that is gone adopt anything.
func (c Claim[T]) alive() func(context.Context) (bool, error) {
	var asked, answer bool
	return func(ctx context.Context) (bool, error) {
		if asked {
			return answer, nil
		}
		gvr, err := c.Client.ResourceFor(c.Owner)
		if err != nil {
			return false, err
		}
		ref := client.Ref{GroupVersionResource: gvr, Namespace: c.Owner.GetNamespace(), Name: c.Owner.GetName()}
		obj, err := c.Client.Get(ctx, ref, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			asked, answer = true, false
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at %s before adopting: %w", c.Owner.GetName(), err)
		}
		m, ok := obj.(metav1.Object)
		asked, answer = true, ok && m.GetUID() == c.Owner.GetUID() && m.GetDeletionTimestamp() == nil
		return answer, nil
	}
}

func (c Claim[T]) adopt(ctx context.Context, obj T, alive func(context.Context) (bool, error)) (bool, error) {
	if ok, err := alive(ctx); !ok || err != nil {
		return false, err
	}
	refs := append(append([]metav1.OwnerReference(nil), obj.GetOwnerReferences()...),
		*metav1.NewControllerRef(c.Owner, c.Kind))
	return c.patch(ctx, obj, refs, "adopt")
}

func (c Claim[T]) release(ctx context.Context, obj T) error {
	var refs []metav1.OwnerReference
	for _, ref := range obj.GetOwnerReferences() {
		if ref.UID != c.Owner.GetUID() {
			refs = append(refs, ref)
		}
	}
	_, err := c.patch(ctx, obj, refs, "release")
	return err
}

// patch reports false when the object is gone.
func (c Claim[T]) patch(ctx context.Context, obj T, refs []metav1.OwnerReference, verb string) (bool, error) {
	err := SetOwners(ctx, c.Client, obj, refs)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", verb, obj.GetName(), err)
	}
	return true, nil
}

// SetOwners replaces the owner references of obj on the server. The error is a Conflict when the
// object is not the one, or not in the state, that obj shows.
func SetOwners(ctx context.Context, c client.Interface, obj client.Object, refs []metav1.OwnerReference) error {
	gvr, err := c.ResourceFor(obj)
	if err != nil {
		return err
	}
	ref := client.Ref{GroupVersionResource: gvr, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	patch, err := MetadataPatch(obj, map[string]any{"ownerReferences": refs})
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, ref, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// MetadataPatch returns a JSON merge patch that sets fields of obj's metadata, and that the server
// refuses with a Conflict unless the object has obj's UID and resource version.
func MetadataPatch(obj metav1.Object, fields map[string]any) ([]byte, error) {
	meta := map[string]any{"uid": obj.GetUID(), "resourceVersion": obj.GetResourceVersion()}
	for name, value := range fields {
		meta[name] = value
	}
	return json.Marshal(map[string]any{"metadata": meta})
}
