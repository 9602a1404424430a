package openapi

import (
	"encoding/json"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

type object = map[string]any

// info, security and the shared part of both versions.
func (o *OpenAPI) info() object { return object{"title": o.title, "version": o.version} }

var bearer = object{"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}

func (o *OpenAPI) buildV3(gv schema.GroupVersion) ([]byte, error) {
	m := newModels(true)
	kinds := o.kindsOf(gv)
	doc := object{
		"openapi": "3.0.0",
		"info":    o.info(),
		"paths":   m.paths(kinds),
	}
	m.markKinds(kinds, o.groups)
	doc["components"] = object{"schemas": m.byRef, "securitySchemes": object{"BearerToken": bearer}}
	return json.Marshal(doc)
}

func (o *OpenAPI) buildV2() ([]byte, error) {
	m := newModels(false)
	doc := object{
		"swagger":             "2.0",
		"info":                o.info(),
		"paths":               m.paths(o.kinds),
		"securityDefinitions": object{"BearerToken": bearer},
		"security":            []object{{"BearerToken": []string{}}},
	}
	m.markKinds(o.kinds, o.groups)
	doc["definitions"] = m.byRef
	return json.Marshal(doc)
}

// paths renders all operations of the kinds, and collects the schemas that they use.
func (m *models) paths(kinds []Kind) map[string]object {
	paths := map[string]object{}
	for _, k := range kinds {
		for _, op := range operations(k) {
			item := paths[op.path]
			if item == nil {
				item = object{"parameters": m.parameters(op.inPath)}
				paths[op.path] = item
			}
			item[op.method] = m.operation(op)
		}
	}
	return paths
}

func (m *models) operation(op operation) object {
	out := object{
		"operationId":                     op.id,
		"description":                     op.description,
		"tags":                            []string{op.tag},
		"x-kubernetes-action":             op.action,
		"x-kubernetes-group-version-kind": groupVersionKind{op.kind.Group, op.kind.Kind, op.kind.Version},
	}
	params := m.parameters(op.query)
	bodyTypes := op.bodyTypes()
	if !m.v3 {
		out["schemes"] = []string{"https"}
		out["consumes"], out["produces"] = bodyTypes, op.objectTypes()
		if op.body != nil {
			params = append([]object{{"name": "body", "in": "body", "required": op.action != "delete" && op.action != "deletecollection", "schema": m.use(op.body)}}, params...)
		}
	} else if op.body != nil {
		out["requestBody"] = object{"content": content(bodyTypes, m.use(op.body)), "required": op.action != "delete" && op.action != "deletecollection"}
	}
	if len(params) > 0 {
		out["parameters"] = params
	}
	out["responses"] = m.responses(op)
	return out
}

func (m *models) responses(op operation) object {
	out := object{"401": object{"description": "Unauthorized"}}
	words := map[int]string{200: "OK", 201: "Created", 202: "Accepted"}
	for _, code := range op.codes {
		r := object{"description": words[code]}
		if m.v3 {
			r["content"] = content(op.objectTypes(), m.use(op.answer))
		} else {
			r["schema"] = m.use(op.answer)
		}
		out[strconv.Itoa(code)] = r
	}
	return out
}

func content(mediaTypes []string, s *schemaObject) object {
	out := object{}
	for _, t := range mediaTypes {
		out[t] = object{"schema": s}
	}
	return out
}

func (m *models) parameters(params []parameter) []object {
	out := make([]object, 0, len(params))
	seen := map[string]bool{}
	for _, p := range params {
		if seen[p.name] {
			continue
		}
		seen[p.name] = true
		o := object{"name": p.name, "in": p.in, "description": p.description}
		if p.required {
			o["required"] = true
		}
		if m.v3 {
			o["schema"] = object{"type": p.kind, "uniqueItems": true}
		} else {
			o["type"], o["uniqueItems"] = p.kind, true
		}
		out = append(out, o)
	}
	return out
}

// use returns a reference to the schema of a sample's type.
func (m *models) use(sample any) *schemaObject {
	if model, ok := sample.(*Model); ok {
		return m.useModel(model)
	}
	return m.of(reflect.TypeOf(sample).Elem())
}

// markKinds tells which schemas are those of kinds.
func (m *models) markKinds(kinds []Kind, groups []schema.GroupVersion) {
	for _, k := range kinds {
		if k.Model != nil {
			continue // its schema tells
		}
		m.mark(k.Object, k.GroupVersionKind)
		if list := k.GroupVersionKind; k.List != nil {
			list.Kind += "List"
			m.mark(k.List, list)
		}
		for _, s := range k.Subresources {
			if s.Object != nil && s.Model == nil {
				m.mark(s.Object, s.Kind)
			}
		}
	}
	const meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
	if s := m.byRef[meta+"Status"]; s != nil {
		s.Kinds = []groupVersionKind{{Kind: "Status", Version: "v1"}}
	}
	if s := m.byRef[meta+"DeleteOptions"]; s != nil {
		for _, gv := range groups {
			s.Kinds = append(s.Kinds, groupVersionKind{gv.Group, "DeleteOptions", gv.Version})
		}
	}
}

func (m *models) mark(sample any, gvk schema.GroupVersionKind) {
	if s := m.byRef[modelName(reflect.TypeOf(sample).Elem())]; s != nil && len(s.Kinds) == 0 {
		s.Kinds = []groupVersionKind{{gvk.Group, gvk.Kind, gvk.Version}}
	}
}
