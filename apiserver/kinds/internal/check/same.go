package check

import (
	"bytes"
	"sync"
)

// message is a type of the API, which marshals itself into a buffer that is large enough.
type message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

var messages = sync.Pool{New: func() any { return new([]byte) }}

// SameMessage tells that two values are the same in protobuf, and therefore equal; it takes a tenth of what it takes to
// compare them by reflection. False means nothing.
func SameMessage(a, b message) bool {
	size := a.Size()
	if size != b.Size() {
		return false
	}
	kept := messages.Get().(*[]byte)
	defer messages.Put(kept)
	if cap(*kept) < 2*size {
		*kept = make([]byte, 2*size)
	}
	one, other := (*kept)[:size], (*kept)[size:2*size]
	n, err := a.MarshalToSizedBuffer(one)
	if err != nil || n != size {
		return false
	}
	n, err = b.MarshalToSizedBuffer(other)
	return err == nil && n == size && bytes.Equal(one, other)
}
