package client

import (
	"context"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Typed is a typed façade over an [Interface] for one Go type, made by [For]. It is a small value:
// make it where it is needed.
type Typed[T Object] struct {
	c   Interface
	gvr schema.GroupVersionResource
	err error
}

// For returns the façade for T, a pointer type such as *corev1.Pod. A type that the client does
// not know makes every call return the mapper's error.
func For[T Object](c Interface) Typed[T] {
	gvr, err := c.ResourceFor(New[T]())
	return Typed[T]{c: c, gvr: gvr, err: err}
}

// New returns a new zero object of the pointer type T, and T's zero value when T is an interface.
func New[T Object]() T {
	var zero T
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Pointer {
		return zero
	}
	return reflect.New(t.Elem()).Interface().(T)
}

// TypedList is a list of one Go type. The items are shared and read-only.
type TypedList[T Object] struct {
	metav1.ListMeta
	Items []T
}

// Resource returns the resource that T maps to.
func (t Typed[T]) Resource() (schema.GroupVersionResource, error) { return t.gvr, t.err }

// Ref returns the reference to one object, or with an empty name to a collection.
func (t Typed[T]) Ref(namespace, name string) Ref {
	return Ref{GroupVersionResource: t.gvr, Namespace: namespace, Name: name}
}

// Get is Reader.Get.
func (t Typed[T]) Get(ctx context.Context, namespace, name string) (T, error) {
	if t.err != nil {
		var zero T
		return zero, t.err
	}
	return as[T](t.c.Get(ctx, t.Ref(namespace, name), metav1.GetOptions{}))
}

// List is Reader.List; an empty namespace means all.
func (t Typed[T]) List(ctx context.Context, namespace string, opts metav1.ListOptions) (TypedList[T], error) {
	var out TypedList[T]
	if t.err != nil {
		return out, t.err
	}
	l, err := t.c.List(ctx, t.Ref(namespace, ""), opts)
	if err != nil {
		return out, err
	}
	out.ListMeta = l.ListMeta
	out.Items = make([]T, len(l.Items))
	for i, o := range l.Items {
		if out.Items[i], err = as[T](o, nil); err != nil {
			return TypedList[T]{}, err
		}
	}
	return out, nil
}

// Watch is Reader.Watch; an empty namespace means all. The objects are shared and read-only.
func (t Typed[T]) Watch(ctx context.Context, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.c.Watch(ctx, t.Ref(namespace, ""), opts)
}

// Create stores obj in its namespace.
func (t Typed[T]) Create(ctx context.Context, obj T) (T, error) {
	if t.err != nil {
		var zero T
		return zero, t.err
	}
	ref := t.Ref(obj.GetNamespace(), "")
	return as[T](t.c.Create(ctx, ref, obj, metav1.CreateOptions{}))
}

// Update replaces the object that obj's namespace and name tell.
func (t Typed[T]) Update(ctx context.Context, obj T) (T, error) { return t.update(ctx, obj, "") }

// UpdateStatus replaces the status of the object that obj's namespace and name tell.
func (t Typed[T]) UpdateStatus(ctx context.Context, obj T) (T, error) {
	return t.update(ctx, obj, "status")
}

func (t Typed[T]) update(ctx context.Context, obj T, subresource string) (T, error) {
	if t.err != nil {
		var zero T
		return zero, t.err
	}
	ref := t.Ref(obj.GetNamespace(), obj.GetName())
	ref.Subresource = subresource
	return as[T](t.c.Update(ctx, ref, obj, metav1.UpdateOptions{}))
}

// Patch changes one object, or its given subresource, and returns the result.
func (t Typed[T]) Patch(ctx context.Context, namespace, name string, pt types.PatchType, patch []byte, subresource string) (T, error) {
	if t.err != nil {
		var zero T
		return zero, t.err
	}
	ref := t.Ref(namespace, name)
	ref.Subresource = subresource
	return as[T](t.c.Patch(ctx, ref, pt, patch, metav1.PatchOptions{}))
}

// Delete asks for the deletion of one object.
func (t Typed[T]) Delete(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
	if t.err != nil {
		return t.err
	}
	return t.c.Delete(ctx, t.Ref(namespace, name), opts)
}

func as[T Object](obj runtime.Object, err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	o, ok := obj.(T)
	if !ok {
		return zero, fmt.Errorf("client: the API answered with a %T, not a %T", obj, zero)
	}
	return o, nil
}
