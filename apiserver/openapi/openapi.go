// Package openapi describes an API in the OpenAPI formats that kubectl and other clients ask a
// server for: version 2 at /openapi/v2, in JSON and in protobuf, and version 3 at /openapi/v3, one
// document for each group and version. The schemas come from the Go types by reflection: their
// json and patch tags, and the descriptions that they carry (SwaggerDoc).
//
// Nothing is built before a client asks. Each document is then built once, and kept compressed.
package openapi

import (
	"cmp"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is what a description needs to know about a kind.
type Kind struct {
	schema.GroupVersionKind
	// Resource is the plural used in paths.
	Resource   string
	Namespaced bool
	// Object and List are empty samples, such as &corev1.Pod{} and &corev1.PodList{}.
	Object, List runtime.Object
	// Model and ListModel describe a kind whose objects have no Go type, nil for those that have.
	Model, ListModel *Model
	// Verbs are the verbs served; nil is all of them.
	Verbs        []string
	Subresources []Subresource
}

// Subresource is a path below an object.
type Subresource struct {
	Name string
	// Kind is the kind of the body.
	Kind schema.GroupVersionKind
	// Object is an empty sample of the body; Model describes one that has no Go type.
	Object runtime.Object
	Model  *Model
	// Verbs are those served among get, create, update and patch.
	Verbs []string
}

// OpenAPI describes one API. It is safe for concurrent use.
type OpenAPI struct {
	title, version string
	kinds          []Kind
	groups         []schema.GroupVersion
	v2, v2proto    *document
	v3             map[schema.GroupVersion]*document
	byVersion      map[schema.GroupVersion][]Kind
}

// Config configures New.
type Config struct {
	Kinds []Kind
	// Version is the version of the API, "unversioned" by default.
	Version string
	// Previous is the description of an earlier state of the API, nil for none. The documents about what has not
	// changed since are taken over from it.
	Previous *OpenAPI
}

// New returns the description of an API. It builds no document.
func New(cfg Config) *OpenAPI {
	o := &OpenAPI{
		title:   "Kubernetes",
		version: cmp.Or(cfg.Version, "unversioned"),
		kinds:   slices.Clone(cfg.Kinds),
		v3:      map[schema.GroupVersion]*document{},

		byVersion: map[schema.GroupVersion][]Kind{},
	}
	for _, k := range o.kinds {
		gv := k.GroupVersion()
		if o.byVersion[gv] == nil {
			o.groups = append(o.groups, gv)
		}
		o.byVersion[gv] = append(o.byVersion[gv], k)
	}
	before := cfg.Previous
	for _, gv := range o.groups {
		if before != nil && o.version == before.version && reflect.DeepEqual(o.byVersion[gv], before.byVersion[gv]) {
			o.v3[gv] = before.v3[gv]
			continue
		}
		// What is taken over later must not hold all the rest.
		part := &OpenAPI{title: o.title, version: o.version, groups: o.groups, byVersion: map[schema.GroupVersion][]Kind{gv: o.byVersion[gv]}}
		o.v3[gv] = &document{build: func() ([]byte, error) { return part.buildV3(gv) }}
	}
	if before != nil && o.version == before.version && reflect.DeepEqual(o.kinds, before.kinds) {
		o.v2, o.v2proto = before.v2, before.v2proto
		return o
	}
	o.v2 = &document{build: o.buildV2}
	o.v2proto = &document{build: o.buildV2Proto}
	return o
}

func (o *OpenAPI) kindsOf(gv schema.GroupVersion) []Kind { return o.byVersion[gv] }

// serves tells whether clients may use verb on the kind.
func (k *Kind) serves(verb string) bool { return k.Verbs == nil || slices.Contains(k.Verbs, verb) }
