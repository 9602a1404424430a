package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Write is one write of a batch: exactly one of Create, Update and Delete is set, with the meaning of the
// Writer's method. Objects are neither kept nor changed.
type Write struct {
	Ref            Ref
	Create, Update runtime.Object
	Delete         *metav1.DeleteOptions
}

// Batcher is a client that can carry out many writes in one commit, which is what a server in the same process
// offers. Components look for it; without it they send one request after the other.
type Batcher interface {
	// Batch carries out series of writes, and returns the error of each, or nil. Every write is authorized,
	// admitted and validated as it would be alone, and has a resource version of its own; only the store's
	// commit, which is a write to the disk, is shared as far as possible. A series ends with its first error,
	// and what one series is refused is of no concern to the others, between which there is no order. Within a series each write sees what
	// those before it have done, but for the resource version: a write to the same object has to name none, or
	// the one from before the series.
	Batch(ctx context.Context, series [][]Write) []error
}
