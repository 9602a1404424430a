package apiserver

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/managed"
)

// Version is a further version, maybe of another group, that a kind is served in. Objects are stored and
// go through the pipeline in the row's own version; the server converts them on their way in and out.
// The conversions are pure: they leave in alone, and out may share memory with it.
type Version struct {
	schema.GroupVersionKind
	// Object and List are empty samples of this version's Go types.
	Object client.Object
	List   runtime.Object
	// Default fills in this version's defaults, before ToStorage; nil has none.
	Default func(obj client.Object)
	// ToStorage fills in an empty object of the row's Go type, FromStorage one of this version's.
	ToStorage, FromStorage func(in, out client.Object) error
	// Validate takes the place of the row's Validate for requests in this version; nil leaves it. Its
	// objects are of the row's Go type.
	Validate func(obj, old client.Object) field.ErrorList
	// Fields maps the fields that selectors may name in this version to those of the row; nil when
	// they are the same.
	Fields map[string]string
}

// newVersion returns the resource that stands for a further version of r: it differs in its types and in
// how it is listed, and shares the rest.
func newVersion(r *resource, v *Version) (*resource, error) {
	if v.Object == nil || v.List == nil || v.ToStorage == nil || v.FromStorage == nil {
		return nil, fmt.Errorf("apiserver: the version %s of %s lacks a sample or a conversion", v.GroupVersionKind, r.Kind.GroupVersionKind)
	}
	k := r.Kind
	k.GroupVersionKind, k.Object, k.List, k.Versions = v.GroupVersionKind, v.Object, v.List, nil
	if v.Validate != nil {
		k.Validate, k.MetadataLast = v.Validate, false
	}
	out := &resource{Kind: k, gvr: k.ResourceRef(), prefix: r.prefix, typ: reflect.TypeOf(v.Object), status: -1, hub: r, version: v}
	out.gr = out.gvr.GroupResource()
	out.keys = versionKeys(v.GroupVersionKind)
	if out.typ.Kind() != reflect.Pointer || out.typ.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("apiserver: the Object of %s is a %s, not a pointer to a struct", k.GroupVersionKind, out.typ)
	}
	out.derive()
	return out, nil
}

// served is the resource in the version that the request asks for.
func (rq *request) served() *resource {
	if rq.as == nil {
		return rq.res
	}
	return rq.as
}

// named is what errors call the resource: Events are asked for in two groups, and called by the one that was.
func (rq *request) named() schema.GroupResource { return rq.served().gr }

// storage is the resource in the version that its objects are stored in.
func (r *resource) storage() *resource {
	if r.hub == nil {
		return r
	}
	return r.hub
}

// stored returns an object that came in as the row's Go type. What is of that type already is left as it is.
func (r *resource) stored(obj client.Object) (client.Object, error) {
	if r.Custom != nil {
		return r.convertCustom(obj)
	}
	if r.version == nil || reflect.TypeOf(obj) != r.typ {
		return obj, nil
	}
	if r.version.Default != nil {
		r.version.Default(obj)
	}
	out := r.hub.new()
	if err := r.version.ToStorage(obj, out); err != nil {
		return nil, badRequest("%s can't be converted: %v", r.GroupVersionKind.Kind, err)
	}
	out.GetObjectKind().SetGroupVersionKind(r.hub.GroupVersionKind)
	return out, nil
}

// shown returns an object of the row's Go type in this version. It may share memory with obj.
func (r *resource) shown(obj client.Object) (client.Object, error) {
	if r.Custom != nil {
		return r.convertCustom(obj)
	}
	if r.version == nil || reflect.TypeOf(obj) == r.typ {
		return obj, nil
	}
	out := r.new()
	if err := r.version.FromStorage(obj, out); err != nil {
		return nil, internalError(fmt.Errorf("%s %s can't be converted: %w", obj.GetNamespace(), obj.GetName(), err))
	}
	out.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind)
	return out, nil
}

// hasVersion tells whether the kind is served in a version.
func (r *resource) hasVersion(gv schema.GroupVersion) bool {
	if r.Custom != nil {
		return slices.Contains(r.Custom.Versions, gv)
	}
	return r.GroupVersion() == gv || slices.ContainsFunc(r.Versions, func(v Version) bool { return v.GroupVersion() == gv })
}

// label returns the row's name of a field that a selector names.
func (r *resource) label(name string) string {
	if r.version == nil || r.version.Fields == nil || name == "metadata.name" || name == "metadata.namespace" {
		return name
	}
	return r.version.Fields[name]
}

// managedCustom is managedKinds for a kind without a Go type, whose schemas know all its versions.
func (k *Kind) managedCustom() managed.Kind {
	return managed.Kind{
		GroupVersionKind: k.GroupVersionKind, Object: &customType{}, Default: k.Default,
		Custom: &managed.Custom{Types: k.Custom.Types, Convert: k.Custom.Convert, Versions: k.Custom.Versions},
	}
}

// managedKinds returns the kind in all its versions, the stored one first.
func (k *Kind) managedKinds() []managed.Kind {
	out := []managed.Kind{{GroupVersionKind: k.GroupVersionKind, Object: k.Object, Default: k.Default}}
	for i := range k.Versions {
		v := &k.Versions[i]
		out = append(out, managed.Kind{
			GroupVersionKind: v.GroupVersionKind, Object: v.Object, Default: v.Default,
			ToHub: v.ToStorage, FromHub: v.FromStorage,
		})
	}
	return out
}
