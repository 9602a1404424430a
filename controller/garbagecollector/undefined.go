package garbagecollector

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/inboard/inboard/apiserver/client"
)

// maxUndefined bounds how many kinds are remembered.
const maxUndefined = 1024

// undefined remembers kinds whose definitions were deleted, all objects first, and the resource version of that. What
// has an owner of such a kind and was last changed before lost it, even if the kind is defined anew. The zero value is
// ready.
type undefined struct {
	mu    sync.Mutex
	since map[schema.GroupKind]string
}

// add remembers a definition that is gone, and returns its kind. Ok is false when its objects may be stored still, as
// when someone took its finalizer off.
func (u *undefined) add(definition client.Object) (kind schema.GroupKind, ok bool) {
	kind, ok = emptied(definition)
	if !ok {
		return kind, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[schema.GroupKind]string{}
	}
	for other := range u.since {
		if len(u.since) < maxUndefined {
			break
		}
		delete(u.since, other) // its dependents were looked at long ago
	}
	u.since[kind] = definition.GetResourceVersion()
	return kind, true
}

// has tells that an owner of obj of a kind went with the kind's definition.
func (u *undefined) has(kind schema.GroupKind, obj client.Object) bool {
	u.mu.Lock()
	since, ok := u.since[kind]
	u.mu.Unlock()
	if !ok {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(obj.GetResourceVersion(), since)
	return err == nil && order < 0
}

// emptied returns the kind that a CustomResourceDefinition defines, and whether its last state tells that all objects
// were removed.
func emptied(definition client.Object) (schema.GroupKind, bool) {
	var fields map[string]any
	if u, ok := definition.(*unstructured.Unstructured); ok {
		fields = u.Object
	} else {
		var err error
		if fields, err = runtime.DefaultUnstructuredConverter.ToUnstructured(definition); err != nil {
			return schema.GroupKind{}, false
		}
	}
	group, _, _ := unstructured.NestedString(fields, "spec", "group")
	kind, _, _ := unstructured.NestedString(fields, "spec", "names", "kind")
	conditions, _, _ := unstructured.NestedSlice(fields, "status", "conditions")
	for _, c := range conditions {
		c, ok := c.(map[string]any)
		if ok && c["type"] == "Terminating" && c["status"] == "False" && c["reason"] == "InstanceDeletionCompleted" {
			return schema.GroupKind{Group: group, Kind: kind}, true
		}
	}
	return schema.GroupKind{}, false
}
