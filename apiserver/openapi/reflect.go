package openapi

import (
	"cmp"
	"encoding/json"
	"reflect"
	"strings"
)

// models collects the schemas of Go types, by their names in OpenAPI.
type models struct {
	// prefix stands before a name in a reference.
	prefix string
	// v3 writes what OpenAPI 2 can't say: alternatives of types, and siblings of references.
	v3    bool
	byRef map[string]*schemaObject
}

func newModels(v3 bool) *models {
	m := &models{prefix: "#/definitions/", v3: v3, byRef: map[string]*schemaObject{}}
	if v3 {
		m.prefix = "#/components/schemas/"
	}
	return m
}

// Methods by which Kubernetes' types tell about themselves.
type (
	documented interface{ SwaggerDoc() map[string]string }
	named      interface{ OpenAPIModelName() string }
	special    interface {
		OpenAPISchemaType() []string
		OpenAPISchemaFormat() string
	}
	alternative interface{ OpenAPIV3OneOfTypes() []string }
)

// of returns the schema of t where it is used: a reference for a struct, which it adds.
func (m *models) of(t reflect.Type) *schemaObject {
	if _, ok := implements[special](t); ok || t.Kind() == reflect.Struct {
		return m.ref(t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return m.of(t.Elem())
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return &schemaObject{Type: "string", Format: "byte"}
		}
		return &schemaObject{Type: "array", Items: m.of(t.Elem())}
	case reflect.Map:
		return &schemaObject{Type: "object", Additional: m.of(t.Elem())}
	}
	s := scalar(t)
	s.Enum = enumOf(t)
	return s
}

func scalar(t reflect.Type) *schemaObject {
	switch t.Kind() {
	case reflect.String:
		return &schemaObject{Type: "string"}
	case reflect.Bool:
		return &schemaObject{Type: "boolean"}
	case reflect.Int32, reflect.Uint32, reflect.Int16, reflect.Uint16, reflect.Int8, reflect.Uint8:
		return &schemaObject{Type: "integer", Format: "int32"}
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return &schemaObject{Type: "integer", Format: "int64"}
	case reflect.Float32:
		return &schemaObject{Type: "number", Format: "float"}
	case reflect.Float64:
		return &schemaObject{Type: "number", Format: "double"}
	}
	return &schemaObject{Type: "object"}
}

func (m *models) ref(t reflect.Type) *schemaObject {
	name := modelName(t)
	if m.byRef[name] == nil {
		s := &schemaObject{}
		m.byRef[name] = s // before the fields: types may hold themselves
		m.fill(s, t)
	}
	return &schemaObject{Ref: m.prefix + name}
}

func (m *models) fill(s *schemaObject, t reflect.Type) {
	docs := docsOf(t)
	s.Description = docs[""]
	if d, ok := descriptions[modelName(t)]; ok {
		s.Description = d
	}
	if x, ok := implements[special](t); ok {
		m.fillSpecial(s, t, x)
		return
	}
	s.Type = "object"
	if atomicTypes[modelName(t)] {
		s.MapType = "atomic"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) {
		return // its JSON is not that of its fields
	}
	s.Properties = map[string]*schemaObject{}
	m.addFields(s, modelName(t), t, docs)
}

func (m *models) fillSpecial(s *schemaObject, t reflect.Type, x special) {
	s.Format = x.OpenAPISchemaFormat()
	if alt, ok := implements[alternative](t); ok && m.v3 {
		for _, one := range alt.OpenAPIV3OneOfTypes() {
			s.OneOf = append(s.OneOf, &schemaObject{Type: one})
		}
		return
	}
	if types := x.OpenAPISchemaType(); len(types) > 0 {
		s.Type = types[0]
	}
}

func (m *models) addFields(s *schemaObject, model string, t reflect.Type, docs map[string]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			m.addFields(s, model, f.Type, docsOf(f.Type))
			continue
		}
		name = cmp.Or(name, f.Name)
		key := model + "." + name
		always := !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")
		if must, told := required[key]; must || always && !told {
			s.Required = append(s.Required, name)
		}
		s.Properties[name] = m.field(f, key, docs[name], always)
	}
}

func (m *models) field(f reflect.StructField, key, doc string, always bool) *schemaObject {
	s := m.of(f.Type)
	ext := fieldExtensions(f, key)
	value, hasDefault := defaults[key]
	if zero := zeroOf(f.Type, s); m.v3 && !hasDefault && zero != nil && (always || f.Type.Kind() == reflect.Struct) {
		value, hasDefault = zero, true
	}
	if m.v3 && s.Ref != "" && (doc != "" || ext != nil || hasDefault) {
		s = &schemaObject{AllOf: []*schemaObject{{Ref: s.Ref}}}
	}
	s.Description = listed(doc, s.Enum)
	if hasDefault && m.v3 {
		s.Default = value
	}
	if ext != nil {
		s.extensions = *ext
	}
	return s
}

// zeroOf returns what a field that can't be null holds when a client leaves it out, nil if OpenAPI
// has no words for it.
func zeroOf(t reflect.Type, s *schemaObject) any {
	if _, isSpecial := implements[special](t); isSpecial || t.Kind() == reflect.Pointer {
		return nil
	}
	switch {
	case t.Kind() == reflect.Struct && modelName(t) != machinery+"runtime.RawExtension":
		return struct{}{}
	case s.Type == "string" && t.Kind() == reflect.String:
		return ""
	case s.Type == "integer" || s.Type == "number":
		return 0
	case s.Type == "boolean":
		return false
	}
	return nil
}

func docsOf(t reflect.Type) map[string]string {
	if d, ok := implements[documented](t); ok {
		return d.SwaggerDoc()
	}
	return nil
}

// modelName returns the name that a type gives itself, else one made of its package and name.
func modelName(t reflect.Type) string {
	if n, ok := implements[named](t); ok {
		return n.OpenAPIModelName()
	}
	host, rest, _ := strings.Cut(t.PkgPath(), "/")
	labels := strings.Split(host, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".") + "." + strings.ReplaceAll(rest, "/", ".") + "." + t.Name()
}

// implements returns a zero t as an I, when t or a pointer to it is one.
func implements[I any](t reflect.Type) (I, bool) {
	var none I
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface || t.PkgPath() == "" {
		return none, false
	}
	i, ok := reflect.New(t).Interface().(I)
	return i, ok
}
