// Package client is the one contract at which all components meet: the seven REST verbs of the
// Kubernetes API on apimachinery types. A component that takes an [Interface] runs unchanged
// against an API server in the same process (apiserver.Server.Client), against one behind HTTPS
// (package rest), and against any real Kubernetes.
//
// Both sides keep the same rules, and the suite in package clienttest holds them to it:
//
//   - an error from the API is an *apierrors.StatusError: test it with apierrors.IsNotFound and
//     its siblings, never by its text;
//   - what Get, Create, Update and Patch return is the caller's own copy;
//   - what List, Watch and [GetShared] deliver is shared and read-only: call DeepCopyObject before a change;
//   - the identity that a request is made under was bound when the client was made.
package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Object is an API object: a runtime.Object with metadata. All kinds that can be stored are
// Objects, and so is *unstructured.Unstructured.
type Object interface {
	metav1.Object
	runtime.Object
}

// Ref names what a request is about: a resource, and within it a namespace (empty for all
// namespaces, and for cluster-scoped resources), an object and a subresource.
type Ref struct {
	schema.GroupVersionResource
	Namespace   string
	Name        string
	Subresource string
}

// String returns the path of the reference below the API root, as in
// "apps/v1/namespaces/default/deployments/web/scale".
func (r Ref) String() string {
	s := r.GroupVersion().String()
	if r.Namespace != "" {
		s += "/namespaces/" + r.Namespace
	}
	s += "/" + r.Resource
	if r.Name != "" {
		s += "/" + r.Name
	}
	if r.Subresource != "" {
		s += "/" + r.Subresource
	}
	return s
}

// Reader reads objects.
type Reader interface {
	// Get returns one object; the caller owns it. ResourceVersion "" asks for the newest state,
	// "0" for any state at hand, N for a state not older than N. The error is NotFound when the
	// object does not exist, and a timeout when N lies in the future.
	Get(ctx context.Context, ref Ref, opts metav1.GetOptions) (runtime.Object, error)

	// List returns the objects of a resource, selected by opts, at one resource version. The
	// items are shared: read them only. A continue token whose snapshot is gone gets Expired.
	List(ctx context.Context, ref Ref, opts metav1.ListOptions) (*List, error)

	// Watch delivers the changes that follow opts.ResourceVersion, in order and without gaps,
	// until ctx ends or Stop is called. "" and "0" begin with an ADDED event for each object
	// that exists. A version that is no longer kept gets 410 Gone, as an error of the call or
	// as an ERROR event, after either of which the caller lists again. Objects are shared.
	Watch(ctx context.Context, ref Ref, opts metav1.ListOptions) (watch.Interface, error)
}

// Writer changes objects. No method keeps or changes the object it is given, once it returned.
type Writer interface {
	// Create stores a new object and returns it as stored. A POST to a subresource answers with
	// what the API defines for it (binding and eviction: a Status), which is why the result is
	// a runtime.Object. The error is AlreadyExists when the name is taken.
	Create(ctx context.Context, ref Ref, obj runtime.Object, opts metav1.CreateOptions) (runtime.Object, error)

	// Update replaces an object, or the part of it that ref.Subresource names. A
	// resourceVersion in obj that is not the stored one gets Conflict.
	Update(ctx context.Context, ref Ref, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error)

	// Patch changes an object by a patch of the given type and returns the result.
	Patch(ctx context.Context, ref Ref, pt types.PatchType, patch []byte, opts metav1.PatchOptions) (runtime.Object, error)

	// Delete asks for the deletion of an object. It is gone at once, or marked with a
	// deletionTimestamp while finalizers or its grace period hold it.
	Delete(ctx context.Context, ref Ref, opts metav1.DeleteOptions) error
}

// Mapper tells which resource holds the objects of a Go type.
type Mapper interface {
	// ResourceFor returns the resource of obj, by its Go type and, for unstructured objects, by
	// its apiVersion and kind. The error is a *meta.NoKindMatchError when there is none.
	ResourceFor(obj runtime.Object) (schema.GroupVersionResource, error)
}

// Interface is the whole contract.
type Interface interface {
	Reader
	Writer
	Mapper
}
