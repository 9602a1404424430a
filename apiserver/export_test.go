package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// Coder encodes and decodes the objects of a kind, for tests.
type Coder struct{ r *resource }

// NewCoder returns the Coder of a row.
func NewCoder(k Kind) (Coder, error) {
	r, err := newResource(k)
	return Coder{r}, err
}

// Value returns the storage form of an object.
func (c Coder) Value(obj client.Object) ([]byte, error) { return c.r.encode(obj) }

// Object decodes an entry.
func (c Coder) Object(e *store.Entry) (client.Object, error) {
	obj, err := c.r.decodeEntry(e)
	if err != nil {
		return nil, err
	}
	return obj.(client.Object), nil
}

// Proto returns the message that clients get of what state holds, at the revision of at. Stored tells that it was
// taken from the stored bytes.
func (c Coder) Proto(state, at *store.Entry) (message []byte, stored bool, err error) {
	f := found{res: c.r, state: state, at: at}
	m, err := f.encodeProto(c.r)
	if err != nil {
		return nil, false, err
	}
	message = m.append(nil)
	return message, m.made == nil && len(message) == m.size(), nil
}

// Labels looks up labels in a stored value. Ok is false when the value would have to be decoded for that.
func (c Coder) Labels(value []byte) (lookup func(label string) (string, bool), ok bool) {
	l, ok := labelsIn(value)
	return l.Lookup, ok
}

// Patch patches an object by the part that the patch is about, if short, and by way of its whole JSON.
func (c Coder) Patch(obj client.Object, pt types.PatchType, patch []byte, fieldValidation string) (short bool, part, whole runtime.Object, err error) {
	p, err := newPatcher(pt, patch, "")
	if err != nil {
		return false, nil, nil, err
	}
	part, short = patchedPart(p, obj)
	rq := &request{res: c.r, warn: noWarnings}
	whole, err = (&Server{}).patchedWhole(rq, p, obj, fieldValidation)
	return short, part, whole, err
}

// ReleaseIndexes is a round of Run's, HasIndex tells whether the objects of a kind have an index.
func (s *Server) ReleaseIndexes() { _ = s.releaseIndexes(context.Background()) }

// HasIndex tells whether there is an index of a kind's objects.
func (s *Server) HasIndex(obj client.Object) bool {
	r, err := s.catalog.Load().table.resourceFor(obj)
	if err != nil {
		return false
	}
	x := &r.storage().index
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.entries != nil
}
