package openapi

import (
	"encoding/json"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Model describes objects that have no Go type.
type Model struct {
	// Name names the model, as in "com.example.v1.CronTab".
	Name string
	// Schema returns the model's schema in OpenAPI version 2 or 3. It may refer to Ref("ObjectMeta", v2) and
	// Ref("ListMeta", v2), and to the names of further models.
	Schema func(v2 bool) (*spec.Schema, error)
}

// metaTypes are what models may refer to.
var metaTypes = map[string]reflect.Type{
	"ObjectMeta": reflect.TypeFor[metav1.ObjectMeta](),
	"ListMeta":   reflect.TypeFor[metav1.ListMeta](),
}

// Ref returns the reference to a model, or to one of "ObjectMeta" and "ListMeta".
func Ref(name string, v2 bool) string {
	prefix := newModels(!v2).prefix
	if t, ok := metaTypes[name]; ok {
		return prefix + modelName(t)
	}
	return prefix + name
}

// MetaModels returns the schemas of version 3 that models refer to, without descriptions, by name.
func MetaModels() map[string]*spec.Schema {
	m := newModels(true)
	for _, t := range metaTypes {
		m.ref(t)
	}
	out := make(map[string]*spec.Schema, len(m.byRef))
	for name, s := range m.byRef {
		out[name] = s.spec()
	}
	return out
}

// useModel returns a reference to a model. What can't be built is any object.
func (m *models) useModel(model *Model) *schemaObject {
	if m.byRef[model.Name] == nil {
		s := &schemaObject{Type: "object"}
		m.byRef[model.Name] = s
		if built, err := model.Schema(!m.v3); err == nil {
			if raw, err := json.Marshal(built); err == nil {
				s.raw = raw
			}
		}
		for _, t := range metaTypes {
			m.ref(t)
		}
	}
	return &schemaObject{Ref: m.prefix + model.Name}
}

// sample is what describes the kind's objects, list what describes its lists.
func (k *Kind) sample() any {
	if k.Model != nil {
		return k.Model
	}
	return k.Object
}

func (k *Kind) list() any {
	if k.ListModel != nil {
		return k.ListModel
	}
	return k.List
}

func (s *Subresource) sample() any {
	if s.Model != nil {
		return s.Model
	}
	return s.Object
}
