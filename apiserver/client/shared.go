package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// SharedReader is a Reader that holds the objects itself and can hand out its own, as a client of an API
// server in the same process can. Use [GetShared], which works with every Reader.
type SharedReader interface {
	// GetShared is Reader.Get without the copy: the object is shared with everybody else who reads it, and
	// stays as it is. Read it only.
	GetShared(ctx context.Context, ref Ref, opts metav1.GetOptions) (runtime.Object, error)
}

// GetShared returns one object as an informer's cache or a list would: it may be shared with others, so
// read it only, and call DeepCopyObject before a change. It is the object at this moment and does not follow
// later changes. Where the reader is a SharedReader that costs a small part of Get, which copies; else it is
// Get.
//
// Take it for reads on a hot path that nothing is written to. A write to what it returns would be seen by
// every other reader, and by the server itself, without being stored.
func GetShared(ctx context.Context, r Reader, ref Ref, opts metav1.GetOptions) (runtime.Object, error) {
	if s, ok := r.(SharedReader); ok {
		return s.GetShared(ctx, ref, opts)
	}
	return r.Get(ctx, ref, opts)
}

// GetShared is the function GetShared for T.
func (t Typed[T]) GetShared(ctx context.Context, namespace, name string) (T, error) {
	if t.err != nil {
		var zero T
		return zero, t.err
	}
	return as[T](GetShared(ctx, t.c, t.Ref(namespace, name), metav1.GetOptions{}))
}
