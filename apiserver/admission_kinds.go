package apiserver

import (
	"context"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	kjson "sigs.k8s.io/json"

	"github.com/inboard/inboard/apiserver/client"
)

// Authorizer is the server's, for questions about anybody.
func (r *AdmissionRequest) Authorizer() Authorizer { return r.server.cfg.Authorizer }

// Served finds the resource that a kind is served as, in the kind's version.
func (r *AdmissionRequest) Served(kind schema.GroupVersionKind) (resource schema.GroupVersionResource, namespaced, ok bool) {
	res := r.server.catalog.Load().table.byKind[kind]
	if res == nil {
		return schema.GroupVersionResource{}, false, false
	}
	return res.gvr, res.Namespaced, true
}

// LookupKind returns an object as one of a kind that is served. It is shared and read-only; ok is false when there
// is none.
func (r *AdmissionRequest) LookupKind(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (obj client.Object, ok bool, err error) {
	as := r.server.catalog.Load().table.byKind[kind]
	if as == nil {
		return nil, false, nil
	}
	obj, _, err = r.server.lookup(ctx, as.storage(), namespace, name)
	if err != nil || obj == nil {
		return nil, false, err
	}
	obj, err = as.shown(obj)
	return obj, err == nil, err
}

// ListKind returns the objects of a namespace, or of all for "", as those of a kind that is served. They are shared
// and read-only.
func (r *AdmissionRequest) ListKind(ctx context.Context, kind schema.GroupVersionKind, namespace string) ([]client.Object, error) {
	as := r.server.catalog.Load().table.byKind[kind]
	if as == nil {
		return nil, nil
	}
	list, err := r.server.listRef(ctx, client.Ref{GroupVersionResource: as.storage().gvr, Namespace: namespace})
	for i := range list {
		if err == nil {
			list[i], err = as.shown(list[i])
		}
	}
	return list, err
}

// TypeConverter knows the schema of Target in the version of one of the kinds of Versions, as it merges what is
// applied on the server's side.
func (r *AdmissionRequest) TypeConverter(kind schema.GroupVersionKind) (managedfields.TypeConverter, error) {
	as, part := r.request.served(), ""
	switch {
	case r.Body != nil:
		return nil, fmt.Errorf("no schema for %s", kind)
	case r.Ref.Subresource == "scale" && as.Scale != nil:
		part = "scale"
	default:
		var err error
		if as, err = r.servedAs(kind); err != nil {
			return nil, err
		}
	}
	m := as.managers[part]
	if m == nil {
		return nil, fmt.Errorf("no schema for %s", kind)
	}
	return m.TypeConverter(), nil
}

// DecodeStrictly is Decode where fields that are unknown or there twice are an error.
func (r *AdmissionRequest) DecodeStrictly(data []byte, kind schema.GroupVersionKind) (runtime.Object, error) {
	obj, err := r.Decode(data, kind)
	if err != nil {
		return nil, err
	}
	unknown, err := kjson.UnmarshalStrict(data, emptyLike(obj))
	if err == nil && len(unknown) > 0 {
		err = strictError(unknown)
	}
	return obj, err
}

// ApplyJSONPatch applies a JSON patch to a document, within the bounds that the server sets to those of clients.
func ApplyJSONPatch(ops jsonpatch.Patch, doc []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil { // The library has panics that the fuzzer found.
			err = fmt.Errorf("the patch can't be applied: %v", p)
		}
	}()
	if len(ops) > maxJSONPatchOps {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxJSONPatchOps, len(ops)))
	}
	return applyJSONPatch(ops, doc)
}
