package custom

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/inboard/inboard/internal/compare/diff"
)

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// versionNames are those of versions, the first ones more often.
var versionNames = []string{"v1", "v1beta1", "v2alpha1", "v2"}

// definition makes a definition of a resource.
func (g *generator) definition(plural, group string) object {
	kind := strings.ToUpper(plural[:1]) + plural[1:]
	names := object{"plural": plural, "kind": kind}
	if g.in(3) {
		names["singular"] = "one" + plural
	}
	if g.in(3) {
		names["listKind"] = kind + "Collection"
	}
	if g.in(3) {
		names["shortNames"] = []any{"s" + plural, "t" + plural}[:1+g.IntN(2)]
	}
	if g.in(3) {
		names["categories"] = []any{"all", "things"}[:1+g.IntN(2)]
	}
	spec := object{"group": group, "scope": oneOf(g, "Cluster", "Namespaced", "Namespaced"), "names": names, "versions": g.versions()}
	if g.in(4) {
		spec["conversion"] = object{"strategy": "None"}
	}
	if g.in(6) {
		spec["preserveUnknownFields"] = false
	}
	d := object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": object{"name": plural + "." + group}, "spec": spec}
	for g.bad(3) {
		g.slip(d)
	}
	return d
}

func (g *generator) versions() []any {
	first := g.root()
	n := oneOf(g, 1, 1, 2, 3)
	storage := g.IntN(n)
	var out []any
	for i := range n {
		schema := diff.Copy(first).(object)
		if i > 0 && g.in(2) {
			// Another version knows other fields.
			spec := within(schema, "properties", "spec", "properties")
			if keys := slices.Sorted(maps.Keys(spec)); len(keys) > 0 {
				delete(spec, oneOf(g, keys...))
			}
			spec["new"] = g.schema(1)
			fix(schema)
		}
		out = append(out, g.version(versionNames[i], schema, i == storage))
	}
	return out
}

// fix takes out what a schema says of properties that it has no more.
func fix(schema object) {
	spec := within(schema, "properties", "spec")
	for _, name := range []string{"required", "x-kubernetes-validations", "default", "anyOf", "oneOf", "allOf", "not"} {
		delete(spec, name)
		delete(schema, name)
	}
}

// within returns the object at a path, which it makes.
func within(o object, path ...string) object {
	for _, p := range path {
		next, ok := o[p].(object)
		if !ok {
			next = object{}
			o[p] = next
		}
		o = next
	}
	return o
}

// root is the schema of whole objects.
func (g *generator) root() object {
	spec, status := g.objectSchema(3), g.objectSchema(2)
	if g.in(3) {
		spec["x-kubernetes-validations"] = g.rules(spec)
	}
	if g.in(4) {
		spec["default"] = g.value(spec, false)
	}
	props := object{"spec": spec, "status": status}
	if g.in(3) {
		props["extra"] = g.schema(2)
	}
	if g.in(5) {
		props["metadata"] = object{"type": "object", "properties": object{"name": object{"type": "string", "maxLength": 12}}}
	}
	if g.in(8) {
		props["apiVersion"], props["kind"] = object{"type": "string"}, object{"type": "string"}
	}
	s := object{"type": "object", "properties": props}
	if g.in(3) {
		s["required"] = []any{"spec"}
	}
	if g.in(3) {
		s["x-kubernetes-validations"] = g.rules(s)
	}
	if g.in(5) {
		s["description"] = "what it is"
	}
	if g.in(10) {
		s["x-kubernetes-preserve-unknown-fields"] = true
	}
	if g.bad(10) {
		g.alternatives(s)
	}
	if g.bad(10) {
		g.mistake(s)
	}
	return s
}

func (g *generator) version(name string, schema object, storage bool) object {
	v := object{"name": name, "served": storage || !g.in(4), "storage": storage}
	if g.in(6) {
		v["deprecated"] = true
		if g.in(2) {
			v["deprecationWarning"] = oneOf(g, "use another", "it's old: \"really\"")
		}
	}
	sub := object{}
	if g.in(2) {
		sub["status"] = object{}
	}
	if g.in(3) {
		g.scale(sub, schema)
	}
	if len(sub) > 0 {
		v["subresources"] = sub
	}
	v["schema"] = object{"openAPIV3Schema": schema}
	leaves := leavesOf(schema, "", nil)
	if g.in(2) {
		v["additionalPrinterColumns"] = g.columns(leaves)
	}
	if g.in(2) {
		v["selectableFields"] = g.selectable(leaves)
		if len(v["selectableFields"].([]any)) == 0 {
			delete(v, "selectableFields")
		}
	}
	return v
}

func (g *generator) scale(sub, schema object) {
	spec, status := within(schema, "properties", "spec", "properties"), within(schema, "properties", "status", "properties")
	replicas := object{"type": "integer"}
	if g.in(3) {
		replicas["default"] = 1
	}
	spec["replicas"], status["replicas"] = replicas, object{"type": oneOf(g, "integer", "integer", "number")}
	scale := object{"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
	if g.in(2) {
		status["selector"] = object{"type": "string"}
		scale["labelSelectorPath"] = ".status.selector"
	}
	sub["scale"] = scale
}

// leaf is a value without parts that a schema describes.
type leaf struct{ path, typ string }

// leavesOf returns the leaves of a schema that a simple path leads to.
func leavesOf(s object, path string, out []leaf) []leaf {
	props, _ := s["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		p, ok := props[name].(object)
		at := path + "." + name
		if !plain.MatchString(name) {
			at = path + "['" + name + "']"
		}
		if typ, _ := p["type"].(string); ok && typ == "object" {
			out = leavesOf(p, at, out)
		} else if ok {
			out = append(out, leaf{at, typ})
		}
	}
	return out
}

func (g *generator) columns(leaves []leaf) []any {
	var out []any
	for i := range 1 + g.IntN(4) {
		c := object{"name": fmt.Sprintf("Column %d", i), "type": oneOf(g, "string", "integer", "number", "boolean", "date"), "jsonPath": ".metadata.labels.a"}
		if len(leaves) > 0 && !g.in(5) {
			l := oneOf(g, leaves...)
			c["jsonPath"] = l.path
			if g.in(2) && l.typ != "" && l.typ != "array" {
				c["type"] = l.typ
			}
		}
		if g.in(6) {
			c["jsonPath"] = oneOf(g, ".metadata.creationTimestamp", ".spec", ".status", ".spec.list[0]", ".spec.list[*].name", ".metadata.name", ".spec[?(@.a==1)]", ".spec['a']",
				".metadata.labels.a\\.b", ".nosuch", ".spec..a", ".metadata.finalizers")
		}
		if g.in(4) {
			c["priority"] = g.IntN(2)
		}
		if g.in(4) {
			c["description"] = "a column"
		}
		if g.in(5) {
			c["format"] = oneOf(g, "int32", "date-time", "password")
		}
		if g.bad(6) {
			c[oneOf(g, "type", "format", "jsonPath", "name")] = oneOf(g, "", "nosuch", "spec.a", ".a[", ".spec.a}")
		}
		out = append(out, c)
	}
	return out
}

func (g *generator) selectable(leaves []leaf) []any {
	out := []any{}
	seen := map[string]bool{}
	for _, l := range leaves {
		good := slices.Contains([]string{"string", "boolean", "integer"}, l.typ) && !strings.HasPrefix(l.path, ".metadata") && !strings.Contains(l.path, "[")
		if good && g.in(2) && len(out) < 8 || g.bad(6) {
			out = append(out, object{"jsonPath": l.path})
			seen[l.path] = true
		}
	}
	if g.bad(6) {
		out = append(out, object{"jsonPath": oneOf(g, "", ".metadata.name", ".spec", ".nosuch", "spec.a", ".spec.a[0]", ".spec.a", ".kind")})
	}
	return out
}
