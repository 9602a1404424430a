package openapi

import (
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// ParseableType returns the type of an object as server-side apply merges it: which lists are maps by
// which keys, which are sets, and what is atomic. Obj is an empty sample of a Go type.
func ParseableType(obj runtime.Object) (*typed.ParseableType, error) {
	m := newModels(true)
	t := reflect.TypeOf(obj).Elem()
	m.ref(t)
	models := make(map[string]*spec.Schema, len(m.byRef))
	for name, s := range m.byRef {
		models[name] = s.spec()
	}
	sc, err := schemaconv.ToSchemaFromOpenAPI(models, false)
	if err != nil {
		return nil, err
	}
	name := modelName(t)
	return &typed.ParseableType{Schema: sc, TypeRef: schema.TypeRef{NamedType: &name}}, nil
}

// spec returns the schema in kube-openapi's form, without descriptions.
func (s *schemaObject) spec() *spec.Schema {
	out := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Default: s.Default, Required: s.Required}}
	if _, empty := s.Default.(struct{}); empty {
		out.Default = map[string]any{}
	}
	if s.Ref != "" {
		out.Ref = spec.MustCreateRef(s.Ref)
	}
	if s.Type != "" {
		out.Type = spec.StringOrArray{s.Type}
	}
	for _, one := range s.AllOf {
		out.AllOf = append(out.AllOf, *one.spec())
	}
	for name, p := range s.Properties {
		if out.Properties == nil {
			out.Properties = make(map[string]spec.Schema, len(s.Properties))
		}
		out.Properties[name] = *p.spec()
	}
	if s.Items != nil {
		out.Items = &spec.SchemaOrArray{Schema: s.Items.spec()}
	}
	if s.Additional != nil {
		out.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: s.Additional.spec()}
	}
	out.Extensions = s.merging()
	return out
}

// merging returns what the extensions tell about merging.
func (e *extensions) merging() spec.Extensions {
	out := spec.Extensions{}
	if e.ListType != "" {
		out.Add("x-kubernetes-list-type", e.ListType)
	}
	if e.MapType != "" {
		out.Add("x-kubernetes-map-type", e.MapType)
	}
	if len(e.ListMapKeys) > 0 {
		keys := make([]any, len(e.ListMapKeys))
		for i, k := range e.ListMapKeys {
			keys[i] = k
		}
		out.Add("x-kubernetes-list-map-keys", keys)
	}
	return out
}
