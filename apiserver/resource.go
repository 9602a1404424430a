package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/managed"
	"github.com/inboard/inboard/store"
)

// keyRoot is what all keys of objects begin with.
const keyRoot = "/registry/"

// resource is a row of the table with what the server derives from it.
type resource struct {
	Kind
	gvr schema.GroupVersionResource
	gr  schema.GroupResource
	// prefix begins the keys of the resource's objects, "/registry/core/pods/".
	prefix string
	typ    reflect.Type
	// spec are the indices of the struct fields that are neither type, metadata nor status.
	spec   []int
	status int
	decode func(*store.Entry) (any, error)
	// managers keep the managed fields, by subresource.
	managers map[string]*managed.Manager
	family   *managed.Family
	// envelope and jsonType begin the objects' encodings.
	envelope envelope
	jsonType string
	// empty is an object without anything but its type; read it only.
	empty client.Object
	// keys are where entries keep what is made of them for this version.
	keys cacheKeys
	// index finds stored objects by labels and fields.
	index objectIndex
	// hub and version are set for a further version of the kind whose stored version is hub.
	hub     *resource
	version *Version
	// all are the resource in all its versions, for the stored one.
	all []*resource
	// gone ends when a resource of a source is not served any more; nil for those of Config.Kinds.
	gone context.Context
}

// table finds resources.
type table struct {
	// byResource leads to a resource in its stored version, whichever version is asked for, served to
	// the version itself, as do byKind and byType.
	byResource map[schema.GroupVersionResource]*resource
	served     map[schema.GroupVersionResource]*resource
	byKind     map[schema.GroupVersionKind]*resource
	byType     map[reflect.Type]*resource
	ordered    []*resource
}

// goName is the Go type of the kind's objects, or of lists of them, in Kubernetes' server.
func (r *resource) goName(list bool) string {
	switch {
	case r.Custom != nil && list:
		return "unstructured.UnstructuredList"
	case r.Custom != nil:
		return "unstructured.Unstructured"
	case list:
		return r.internalName() + "List"
	}
	return r.internalName()
}

// internalName is what Kubernetes' errors call a kind: by the Go type that its server works on.
func (r *resource) internalName() string { return internalName(r.GroupVersionKind) }

func internalName(kind schema.GroupVersionKind) string {
	name, _, _ := strings.Cut(kind.Group, ".")
	if name == "" || name == "events" {
		name = "core"
	}
	return name + "." + kind.Kind
}

// hasGroup tells whether any kind of a group is served.
func (t *table) hasGroup(group string) bool {
	return slices.ContainsFunc(t.ordered, func(r *resource) bool { return r.Group == group })
}

func newTable(rows []*row) (*table, error) {
	t := &table{
		byResource: map[schema.GroupVersionResource]*resource{},
		served:     map[schema.GroupVersionResource]*resource{},
		byKind:     map[schema.GroupVersionKind]*resource{},
		byType:     map[reflect.Type]*resource{},
	}
	for _, row := range rows {
		for _, r := range row.versions {
			if err := t.add(r); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// add enters a resource in one of its versions.
func (t *table) add(r *resource) error {
	if t.served[r.gvr] != nil {
		return fmt.Errorf("apiserver: %s is there twice", r.gvr)
	}
	if t.byKind[r.GroupVersionKind] != nil {
		return fmt.Errorf("apiserver: %s is there twice", r.GroupVersionKind)
	}
	t.served[r.gvr] = r
	t.byResource[r.gvr] = r
	if r.hub != nil {
		t.byResource[r.gvr] = r.hub
	}
	t.byKind[r.GroupVersionKind] = r
	if t.byType[r.typ] == nil && r.Custom == nil {
		t.byType[r.typ] = r
	}
	t.ordered = append(t.ordered, r)
	return nil
}

func newResource(k Kind) (*resource, error) {
	switch {
	case k.GroupVersionKind.Kind == "" || k.Version == "" || k.Resource == "":
		return nil, fmt.Errorf("apiserver: Config.Kinds has the row %v %q without a kind, version or resource", k.GroupVersionKind, k.Resource)
	case k.Object == nil || k.List == nil && k.Review == nil:
		return nil, fmt.Errorf("apiserver: the row of %s has no Object or List", k.GroupVersionKind)
	}
	if k.Review != nil {
		k.Verbs = []string{verbCreate}
	}
	if k.Singular == "" {
		k.Singular = strings.ToLower(k.GroupVersionKind.Kind)
	}
	r := &resource{Kind: k, gvr: k.ResourceRef(), status: -1}
	r.gr = r.gvr.GroupResource()
	r.prefix = StoredPrefix(r.gr)
	r.typ = reflect.TypeOf(k.Object)
	if k.Custom != nil {
		r.untyped()
		return r, nil
	}
	if r.typ.Kind() != reflect.Pointer || r.typ.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("apiserver: the Object of %s is a %s, not a pointer to a struct", k.GroupVersionKind, r.typ)
	}
	r.parts()
	if k.Status && r.status < 0 {
		return nil, fmt.Errorf("apiserver: the row of %s has a status subresource, its Go type has no field Status", k.GroupVersionKind)
	}
	r.evictable()
	r.derive()
	r.decode = r.decodeEntry
	r.keys = storedKeys
	r.family = managed.NewFamily(k.managedKinds())
	r.managers = newManagers(&r.Kind, r.family, 0)
	return r, nil
}

// untyped makes r one of a kind that has no Go type.
func (r *resource) untyped() {
	r.typ = reflect.TypeFor[*customType]()
	r.family = managed.NewFamily([]managed.Kind{r.managedCustom()})
	r.derive()
	r.jsonType, r.keys = "", rowKeys(r)
	r.managers = newManagers(&r.Kind, r.family, 0)
}

// parts tells which fields of the Go type are the status, and which of them the spec has.
func (r *resource) parts() {
	for i := range r.typ.Elem().NumField() {
		switch r.typ.Elem().Field(i).Name {
		case "TypeMeta", "ObjectMeta":
		case "Status":
			r.status = i
		default:
			r.spec = append(r.spec, i)
		}
	}
}

// evictable adds the eviction of pods, which the server has of its own, unless the row brings another one.
func (r *resource) evictable() {
	if _, own := r.Subresources["eviction"]; r.gvr != podsResource || own {
		return
	}
	r.Subresources = maps.Clone(r.Subresources)
	if r.Subresources == nil {
		r.Subresources = map[string]Subresource{}
	}
	r.Subresources["eviction"] = eviction()
}

// derive sets what follows from the kind and its Go type alone.
func (r *resource) derive() {
	r.envelope, r.jsonType, r.empty = newEnvelope(typeMeta(r.GroupVersionKind)), jsonType(r.GroupVersionKind), r.new()
}

// kinds returns the rows as they are served.
func (t *table) kinds() []Kind {
	out := make([]Kind, len(t.ordered))
	for i, r := range t.ordered {
		out[i] = r.Kind
	}
	return out
}

// new returns an empty object with its type set.
func (r *resource) new() client.Object {
	obj := reflect.New(r.typ.Elem()).Interface().(client.Object)
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind)
	return obj
}

// key returns the key of an object.
func (r *resource) key(namespace, name string) string {
	if !r.Namespaced {
		return r.prefix + name
	}
	return r.prefix + namespace + "/" + name
}

// scope returns the prefix of the keys of a namespace's objects, or of all for "".
func (r *resource) scope(namespace string) string {
	if !r.Namespaced || namespace == "" {
		return r.prefix
	}
	return r.prefix + namespace + "/"
}

// copyStatus makes dst's status the one of src, or the zero status when src is nil. What dst had is
// not touched: its memory may be shared with src.
func (r *resource) copyStatus(dst, src client.Object) {
	if r.Custom != nil {
		copyCustomStatus(dst, src)
		return
	}
	if r.status < 0 {
		return
	}
	to := reflect.ValueOf(dst).Elem().Field(r.status)
	if src == nil {
		to.SetZero()
		return
	}
	to.Set(reflect.ValueOf(src).Elem().Field(r.status))
}

// sameSpec tells whether two objects differ in nothing but type, metadata and status.
func (r *resource) sameSpec(a, b client.Object) bool {
	if r.Custom != nil {
		return sameCustomSpec(a, b)
	}
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for _, i := range r.spec {
		if a, b := va.Field(i), vb.Field(i); !sameMessage(a, b) && !apiequality.Semantic.DeepEqual(a.Interface(), b.Interface()) {
			return false
		}
	}
	return true
}

// sameMessage tells that two fields are the same in protobuf, and therefore equal; it takes a tenth of what it takes to
// compare them by reflection. False means nothing.
func sameMessage(a, b reflect.Value) bool {
	ma, ok := a.Addr().Interface().(sizedMessage)
	if !ok {
		return false
	}
	mb := b.Addr().Interface().(sizedMessage)
	size := ma.Size()
	if size != mb.Size() {
		return false
	}
	kept := listPieces.Get().(*[]byte)
	defer listPieces.Put(kept)
	if cap(*kept) < 2*size {
		*kept = make([]byte, 2*size)
	}
	one, other := (*kept)[:size], (*kept)[size:2*size]
	n, err := ma.MarshalToSizedBuffer(one)
	if err != nil || n != size {
		return false
	}
	n, err = mb.MarshalToSizedBuffer(other)
	return err == nil && n == size && bytes.Equal(one, other)
}

// shallow returns a copy of obj that shares all but the metadata's own fields.
func (r *resource) shallow(obj client.Object) client.Object {
	if r.Custom != nil {
		return shallowCustom(obj)
	}
	c := reflect.New(r.typ.Elem())
	c.Elem().Set(reflect.ValueOf(obj).Elem())
	return c.Interface().(client.Object)
}

// own returns the caller's object as a copy of the resource's Go type.
func (r *resource) own(obj runtime.Object) (client.Object, error) {
	if obj == nil {
		return nil, badRequest("the request has no object; want a %s", r.GroupVersionKind.Kind)
	}
	if r.Custom != nil {
		return r.ownCustom(obj)
	}
	if reflect.TypeOf(obj) == r.typ {
		c := obj.DeepCopyObject().(client.Object)
		c.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind)
		return c, nil
	}
	u, ok := obj.(runtime.Unstructured)
	if !ok {
		return nil, badRequest("the object provided is a %T, not a %s", obj, r.typ)
	}
	c := r.new()
	return c, fromUnstructured(u, c, r.GroupVersionKind)
}

// fromUnstructured decodes an unstructured object as if it came over HTTP.
func fromUnstructured(u runtime.Unstructured, into runtime.Object, kind schema.GroupVersionKind) error {
	data, err := json.Marshal(u.UnstructuredContent())
	if err != nil {
		return badRequest("%v", err)
	}
	rq := &request{warn: noWarnings}
	return bodyError(decodeJSON(rq, data, data, into, kind, metav1.FieldValidationIgnore), kind)
}

// resourceFor finds the resource of an object, as client.Mapper asks for.
func (t *table) resourceFor(obj runtime.Object) (*resource, error) {
	if r := t.byType[reflect.TypeOf(obj)]; r != nil {
		return r, nil
	}
	gvk := obj.GetObjectKind().GroupVersionKind()
	if r := t.byKind[gvk]; r != nil {
		return r, nil
	}
	if gvk.Empty() {
		gvk.Kind = fmt.Sprintf("%T", obj)
	}
	return nil, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}
