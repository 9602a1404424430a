package openapi

import (
	"reflect"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Schema returns the schema of a kind's objects, of version 3, without references and descriptions. Where a type is part
// of itself, the inner one is any object.
func Schema(k *Kind) (*spec.Schema, error) {
	m := newModels(true)
	var root *spec.Schema
	if k.Model != nil {
		var err error
		if root, err = k.Model.Schema(false); err != nil {
			return nil, err
		}
		for _, t := range metaTypes {
			m.ref(t)
		}
	} else {
		root = m.ref(reflect.TypeOf(k.Object).Elem()).spec()
	}
	r := &resolver{models: m, within: map[string]bool{}}
	return r.resolve(root), nil
}

// resolver replaces references by what they refer to.
type resolver struct {
	models *models
	// within are the names of the models that the schema at hand is a part of.
	within map[string]bool
}

func (r *resolver) resolve(s *spec.Schema) *spec.Schema {
	if name := refName(s); name != "" {
		name = strings.TrimPrefix(name, r.models.prefix)
		model := r.models.byRef[name]
		if r.within[name] || model == nil {
			return &spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{"object"}}}
		}
		r.within[name] = true
		defer delete(r.within, name)
		s = model.spec()
		if refName(s) != "" {
			return r.resolve(s)
		}
	}
	out := *s
	if s.Properties != nil {
		out.Properties = make(map[string]spec.Schema, len(s.Properties))
		for name, p := range s.Properties {
			out.Properties[name] = *r.resolve(&p)
		}
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil {
		out.AdditionalProperties = &spec.SchemaOrBool{Allows: a.Allows, Schema: r.resolve(a.Schema)}
	}
	if s.Items != nil && s.Items.Schema != nil {
		out.Items = &spec.SchemaOrArray{Schema: r.resolve(s.Items.Schema)}
	}
	return &out
}

// refName returns what a schema refers to; a reference with a description or a default is within allOf.
func refName(s *spec.Schema) string {
	if s.Ref.GetURL() != nil {
		return s.Ref.String()
	}
	for i := range s.AllOf {
		if name := refName(&s.AllOf[i]); name != "" {
			return name
		}
	}
	return ""
}
