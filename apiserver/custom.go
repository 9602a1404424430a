package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/openapi"
	"github.com/inboard/inboard/store"
)

// Custom makes a kind one without a Go type: its objects are *unstructured.Unstructured. Each version that the kind is
// served in is a row of its own, in which requests go through the pipeline; all versions share their keys in the
// store, and each row converts what is stored. Package crd makes such rows. The functions are pure but for
// conversions, which may ask a webhook.
type Custom struct {
	// ListKind is the kind of lists.
	ListKind string
	// Versions are all versions served.
	Versions []schema.GroupVersion
	// Receive readies what was decoded from a request, in place, by dropping what the schema does not know. It
	// returns the paths of what it dropped.
	Receive func(obj *unstructured.Unstructured) (unknown []string, err error)
	// Encode and Decode convert to and from what is stored. They don't keep what they are given.
	Encode func(obj *unstructured.Unstructured) ([]byte, error)
	Decode func(value []byte) (*unstructured.Unstructured, error)
	// Convert returns an object in one of Versions; it leaves obj alone.
	Convert func(obj *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error)
	// Types returns the schemas by which fields are managed, in all versions.
	Types func() (managedfields.TypeConverter, error)
	// Model and ListModel describe objects and lists of this version to clients.
	Model, ListModel *openapi.Model
}

// customType is the type of custom objects. A Kind's Object and List are only looked at for their address.
type customType = unstructured.Unstructured

// customEntry is what an entry keeps for one row: its object in the row's version. Errors are not kept, as a webhook
// may know better the next time.
type customEntry struct {
	mu  sync.Mutex
	obj client.Object
	// making is under way; nil when nobody makes the object.
	making *customAttempt
}

// customAttempt is an attempt to make an object. Who asks meanwhile gets what comes of it, be it an error: one by one,
// as many as ask for an object whose webhook hangs would wait for each other.
type customAttempt struct {
	done chan struct{}
	obj  client.Object
	err  error
}

// customKey is the key of a customEntry. gone is for the state before the entry's.
type customKey struct {
	r    *resource
	gone bool
}

// custom returns an entry's object, made at most once.
func (r *resource) custom(at *store.Entry, key customKey, produce func() (client.Object, error)) (client.Object, error) {
	v, err := at.Cached(key, func(*store.Entry) (any, error) { return &customEntry{}, nil })
	if err != nil {
		return nil, err
	}
	c := v.(*customEntry)
	c.mu.Lock()
	if c.obj != nil {
		defer c.mu.Unlock()
		return c.obj, nil
	}
	try := c.making
	if try != nil {
		c.mu.Unlock()
		<-try.done
		return try.obj, try.err
	}
	try = &customAttempt{done: make(chan struct{}), err: errBrokenOff}
	c.making = try
	c.mu.Unlock()
	defer func() { // after a panic too
		c.mu.Lock()
		defer c.mu.Unlock()
		c.obj, c.making = try.obj, nil
		close(try.done)
	}()
	obj, err := produce()
	if err != nil {
		obj = nil
	}
	try.obj, try.err = obj, err
	return obj, err
}

var errBrokenOff = errors.New("reading the object was broken off")

// unstructuredOf returns the custom object that obj is; the pipeline has no others for such kinds.
func unstructuredOf(obj runtime.Object) *customType { return obj.(*customType) }

// copyCustomStatus is copyStatus for custom objects.
func copyCustomStatus(dst, src client.Object) {
	to := unstructuredOf(dst).Object
	if src != nil {
		if status, ok := unstructuredOf(src).Object["status"]; ok {
			to["status"] = status
			return
		}
	}
	delete(to, "status")
}

// sameCustomSpec is sameSpec for custom objects, all of which but metadata counts.
func sameCustomSpec(a, b client.Object) bool {
	x, y := maps.Clone(unstructuredOf(a).Object), maps.Clone(unstructuredOf(b).Object)
	delete(x, "metadata")
	delete(y, "metadata")
	return apiequality.Semantic.DeepEqual(x, y)
}

// shallowCustom returns a copy that shares all but the metadata's own fields.
func shallowCustom(obj client.Object) client.Object {
	c := &customType{Object: maps.Clone(unstructuredOf(obj).Object)}
	if metadata, ok := c.Object["metadata"].(map[string]any); ok {
		c.Object["metadata"] = maps.Clone(metadata)
	}
	return c
}

// ownCustom returns the caller's object, of whatever type, as a copy that was received as from HTTP.
func (r *resource) ownCustom(obj runtime.Object) (client.Object, error) {
	var content map[string]any
	if u, ok := obj.(runtime.Unstructured); ok {
		content = u.UnstructuredContent()
	} else {
		var err error
		if content, err = runtime.DefaultUnstructuredConverter.ToUnstructured(obj); err != nil {
			return nil, badRequest("%v", err)
		}
	}
	rq := &request{warn: noWarnings, res: r, as: r}
	own := &customType{Object: runtime.DeepCopyJSON(content)}
	if err := rq.sameKind(typeOf(own), r.GroupVersionKind); err != nil {
		return nil, err
	}
	own.SetGroupVersionKind(r.GroupVersionKind)
	if _, err := r.Custom.Receive(own); err != nil {
		return nil, bodyError(err, r.GroupVersionKind)
	}
	return own, nil
}

// decodeCustom decodes strictly into a custom object, as decodeStrictly does.
func decodeCustom(rq *request, data []byte, into *customType, unmarshal func(any) ([]error, error)) (strict []error, err error) {
	content := map[string]any{}
	if strict, err = unmarshal(&content); err != nil {
		return nil, err
	}
	if content == nil {
		kind := kindOf{}
		if rq.as != nil {
			kind = rq.as.GroupVersionKind
		}
		return nil, unrecognized(kind, fmt.Sprintf("Object 'Kind' is missing in '%s'", data), data)
	}
	into.Object = content
	if rq.as == nil || rq.as.Custom == nil {
		return strict, nil
	}
	into.SetGroupVersionKind(rq.as.GroupVersionKind)
	unknown, err := rq.as.Custom.Receive(into)
	for _, path := range unknown {
		strict = append(strict, fmt.Errorf("unknown field %q", path))
	}
	return strict, err
}

// encodeCustom returns the storage form of a custom object.
func (r *resource) encodeCustom(obj client.Object) ([]byte, error) {
	return r.Custom.Encode(unstructuredOf(obj))
}

// decodeCustomEntry decodes an entry for the row.
func (r *resource) decodeCustomEntry(e *store.Entry) (client.Object, error) {
	obj, err := r.Custom.Decode(e.Value)
	if err != nil {
		return nil, err
	}
	obj.SetResourceVersion(formatVersion(e.ModRevision))
	return obj, nil
}

// convertCustom returns a custom object in the row's version.
func (r *resource) convertCustom(obj client.Object) (client.Object, error) {
	u := unstructuredOf(obj)
	if u.GroupVersionKind() == r.GroupVersionKind {
		return u, nil
	}
	return r.Custom.Convert(u, r.GroupVersion())
}

// encodeCustomJSON returns a custom object's JSON, which is kept with its entry if it has one.
func (f *found) encodeCustomJSON(as *resource) ([]byte, error) {
	obj, err := f.shown(as)
	if err != nil {
		return nil, err
	}
	if f.at == nil {
		return json.Marshal(obj)
	}
	return cachedBytes(f.at, f.key(as.keys.json, as.keys.goneJSON), func() ([]byte, error) { return json.Marshal(obj) })
}
