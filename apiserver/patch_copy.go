package apiserver

import (
	"encoding/json"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

const (
	// maxCopied bounds, in bytes, what the copies of a JSON patch may make of a document, as kube-apiserver does.
	maxCopied = 3 << 20
	// maxCopyWork bounds the bytes of all documents between the copies of one patch.
	maxCopyWork = 64 << 20
)

// applyJSONPatch applies a JSON patch. Each copy in it may double the document; the library bounds that for the whole
// process only. So where copies might make too much, they are done one by one and looked at.
func applyJSONPatch(ops jsonpatch.Patch, doc []byte) ([]byte, error) {
	if copiesAreSmall(ops, len(doc)) {
		return ops.Apply(doc)
	}
	for work := 0; len(ops) > 0; {
		n := 1
		for n < len(ops) && ops[n-1].Kind() != "copy" {
			n++
		}
		var err error
		if doc, err = ops[:n].Apply(doc); err != nil {
			return nil, err
		}
		if work += len(doc); len(doc) > maxCopied || work > maxCopyWork {
			return nil, apierrors.NewRequestEntityTooLargeError(jsonpatch.NewAccumulatedCopySizeError(maxCopied, int64(max(len(doc), work))).Error())
		}
		ops = ops[n:]
	}
	return doc, nil
}

// copiesAreSmall tells whether a document of a size stays small even when each copy is one of all of it.
func copiesAreSmall(ops jsonpatch.Patch, size int) bool {
	copies := false
	for _, op := range ops {
		if value := op["value"]; value != nil {
			size += len(*value)
		}
		if op.Kind() == "copy" {
			copies = true
			size *= 2
		}
		if copies && size > maxCopied {
			return false
		}
	}
	return true
}

// JSONPatch is a JSON patch (RFC 6902) that was read.
type JSONPatch struct{ ops jsonpatch.Patch }

// NewJSONPatch reads a JSON patch.
func NewJSONPatch(patch []byte) (JSONPatch, error) {
	ops, err := jsonpatch.DecodePatch(patch)
	return JSONPatch{ops}, err
}

// Len returns the number of the patch's operations.
func (p JSONPatch) Len() int { return len(p.ops) }

// Apply returns the JSON that the patch makes of an object's. What its copies may make is bounded.
func (p JSONPatch) Apply(obj runtime.Object) ([]byte, error) {
	doc, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	return contained(func(doc []byte, _ runtime.Object) ([]byte, error) { return applyJSONPatch(p.ops, doc) }, doc, obj)
}
