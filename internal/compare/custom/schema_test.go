package custom

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// generator makes definitions and objects. Wrong tells that some of the definitions should be wrong.
type generator struct {
	*rand.Rand
	wrong bool
}

func newGenerator(seed, n uint64, wrong bool) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, n)), wrong: wrong}
}

func oneOf[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// in tells whether one of n cases is at hand.
func (g *generator) in(n int) bool { return g.IntN(n) == 0 }

// bad tells whether something should be wrong now, in one of n cases.
func (g *generator) bad(n int) bool { return g.in(n) && g.wrong }

// fieldNames are names of properties, some of which CEL can't take as they are.
var fieldNames = []string{"a", "b", "name", "key", "value", "my-field", "x.y", "namespace", "under_score", "Upper", "int", "kind"}

// schema returns the schema of a value that is depth levels deep at most.
func (g *generator) schema(depth int) object {
	var s object
	if n := g.IntN(16); depth > 0 && n > 6 {
		switch {
		case n < 10:
			s = g.objectSchema(depth)
		case n < 12:
			s = g.mapSchema(depth)
		case n < 15:
			s = g.arraySchema(depth)
		default:
			s = g.openSchema()
		}
	} else {
		s = g.scalar()
	}
	g.decorate(s)
	return s
}

// decorate adds to a schema what any type can have.
func (g *generator) decorate(s object) {
	if g.in(8) {
		s["nullable"] = true
	}
	if g.in(6) {
		s["description"] = oneOf(g, "some text", "", "two\nlines")
	}
	if g.in(20) {
		s["title"] = "T"
		s["externalDocs"] = object{"url": "https://docs.test"}
		s["example"] = oneOf[any](g, "e", 1, object{"a": 1})
	}
	if g.in(4) {
		s["x-kubernetes-validations"] = g.rules(s)
	}
	if g.in(6) {
		g.alternatives(s)
	}
	if g.in(5) && (g.in(8) || !combined(s)) {
		s["default"] = g.value(s, g.bad(3))
	}
	if g.bad(25) {
		g.mistake(s)
	}
}

// combined tells whether a schema asks for more than a type, which a value made at random hardly fulfils.
func combined(s object) bool {
	for _, name := range []string{"anyOf", "oneOf", "allOf", "not", "x-kubernetes-validations", "multipleOf", "minimum", "maximum"} {
		if s[name] != nil {
			return true
		}
	}
	return false
}

func (g *generator) scalar() object {
	switch n := g.IntN(12); {
	case n < 5:
		return g.stringSchema()
	case n < 8:
		return g.numberSchema("integer")
	case n < 9:
		return g.numberSchema("number")
	case n < 10:
		return object{"type": "boolean"}
	case n < 11:
		s := object{"x-kubernetes-int-or-string": true}
		if g.in(3) {
			s["anyOf"] = []any{object{"type": "integer"}, object{"type": "string"}}
		}
		if g.in(4) {
			s["maximum"] = 100
		}
		if g.in(4) {
			s["pattern"] = "^[0-9]+%?$"
		}
		return s
	}
	s := object{"type": "string", "enum": []any{"One", "Two", "Three"}}
	return s
}

var formats = []string{"date", "date-time", "email", "ipv4", "ipv6", "uuid", "byte", "duration", "hostname", "uri", "cidr", "mac",
	"int32", "nosuch", "bsonobjectid", "isbn", "creditcard", "ssn", "hexcolor", "rgbcolor", "password", "k8s-short-name", "k8s-long-name"}

func (g *generator) stringSchema() object {
	s := object{"type": "string"}
	if g.in(4) {
		s["format"] = oneOf(g, formats...)
	}
	if g.in(4) {
		s["pattern"] = oneOf(g, "^[a-z]+$", "^a", "[0-9]$", "^.*$")
	}
	if !g.in(4) {
		s["maxLength"] = oneOf(g, 3, 8, 20)
	}
	if g.in(6) {
		s["minLength"] = oneOf(g, 0, 1, 2)
	}
	if g.in(10) {
		s["enum"] = oneOf(g, []any{"a", "b", "abc"}, []any{"x1", "y2", ""})
	}
	return s
}

func (g *generator) numberSchema(typ string) object {
	s := object{"type": typ}
	if g.in(4) {
		s["format"] = oneOf(g, "int32", "int64", "float", "double")
	}
	if g.in(3) {
		s["minimum"] = oneOf(g, 0, 1, -5)
		if g.in(3) {
			s["exclusiveMinimum"] = true
		}
	}
	if g.in(3) {
		s["maximum"] = oneOf(g, 10, 100)
		if typ == "number" || g.bad(4) {
			s["maximum"] = 7.5
		}
		if g.in(3) {
			s["exclusiveMaximum"] = true
		}
	}
	if g.in(6) {
		s["multipleOf"] = oneOf(g, 2, 5)
		if typ == "number" {
			s["multipleOf"] = 0.5
		}
	}
	if g.in(10) {
		s["enum"] = []any{1, 2, 3}
	}
	return s
}

func (g *generator) objectSchema(depth int) object {
	props := object{}
	for range 1 + g.IntN(4) {
		props[oneOf(g, fieldNames...)] = g.schema(depth - 1)
	}
	s := object{"type": "object", "properties": props}
	if g.in(3) {
		s["required"] = []any{oneOf(g, slices.Sorted(maps.Keys(props))...)}
	}
	if g.in(10) {
		s["maxProperties"] = oneOf(g, 1, 3)
	}
	if g.in(10) {
		s["minProperties"] = 1
	}
	if g.in(8) {
		s["x-kubernetes-map-type"] = oneOf(g, "atomic", "granular")
	}
	if g.in(10) {
		s["x-kubernetes-preserve-unknown-fields"] = true
	}
	return s
}

func (g *generator) mapSchema(depth int) object {
	s := object{"type": "object", "additionalProperties": g.schema(depth - 1)}
	if !g.in(5) {
		s["maxProperties"] = oneOf(g, 2, 5)
	}
	if g.in(6) {
		s["x-kubernetes-map-type"] = oneOf(g, "atomic", "granular")
	}
	return s
}

func (g *generator) arraySchema(depth int) object {
	s := object{"type": "array"}
	if !g.in(5) {
		s["maxItems"] = oneOf(g, 2, 5)
	}
	if g.in(8) {
		s["minItems"] = 1
	}
	switch g.IntN(4) {
	case 0:
		s["x-kubernetes-list-type"] = "set"
		s["items"] = g.scalar()
		if g.in(6) {
			s["items"] = object{"type": "object", "x-kubernetes-map-type": "atomic", "properties": object{"a": g.scalar()}}
		}
	case 1:
		item := g.objectSchema(depth)
		keys := []any{}
		for _, name := range []string{"name", "key"} {
			key := g.scalar()
			delete(key, "nullable")
			if _, ok := key["type"]; !ok {
				key = object{"type": "string"}
			}
			if g.in(3) {
				key["default"] = g.value(key, false)
			}
			item["properties"].(object)[name] = key
			keys = append(keys, name)
			if g.in(2) {
				break
			}
		}
		item["required"] = slices.Clone(keys)
		if g.bad(4) {
			delete(item, "required")
		}
		s["x-kubernetes-list-type"], s["x-kubernetes-list-map-keys"], s["items"] = "map", keys, item
	default:
		s["items"] = g.schema(depth - 1)
		if g.in(3) {
			s["x-kubernetes-list-type"] = "atomic"
		}
	}
	return s
}

// openSchema is one of values about which little is known.
func (g *generator) openSchema() object {
	s := object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	if g.in(2) {
		s["x-kubernetes-embedded-resource"] = true
		if g.in(2) {
			s["properties"] = object{"spec": object{"type": "object", "properties": object{"a": g.scalar()}}}
			if g.in(2) {
				delete(s, "x-kubernetes-preserve-unknown-fields")
			}
		}
		if g.in(3) {
			s["properties"] = object{"metadata": object{"type": "object", "properties": object{"name": object{"type": "string", "pattern": "^a"}}}}
		}
	} else if g.in(2) {
		delete(s, "type")
	}
	return s
}

// alternatives adds value validations that combine others.
func (g *generator) alternatives(s object) {
	branch := func() object {
		switch s["type"] {
		case "object":
			names := []string{"a", "b"}
			props, _ := s["properties"].(object)
			if len(props) > 0 {
				names = slices.Sorted(maps.Keys(props))
			}
			name := oneOf(g, names...)
			if p, _ := props[name].(object); p["type"] == "string" && g.in(2) {
				return object{"properties": object{name: object{"enum": []any{"a", "One"}}}}
			}
			return object{"required": []any{name}}
		case "array":
			return object{oneOf(g, "minItems", "maxItems"): g.IntN(3)}
		case "string":
			return oneOf(g, object{"pattern": "^a"}, object{"maxLength": 2}, object{"enum": []any{"a", "One"}}, object{"format": "date"})
		case "integer", "number":
			return oneOf(g, object{"minimum": 3}, object{"maximum": 2}, object{"multipleOf": 2}, object{"enum": []any{1, 4}})
		}
		return object{"not": object{"enum": []any{true, "a"}}}
	}
	if s["anyOf"] == nil && g.in(2) {
		s["anyOf"] = []any{branch(), branch()}
	}
	switch g.IntN(3) {
	case 0:
		s["oneOf"] = []any{branch(), branch()}
	case 1:
		s["not"] = branch()
	default:
		s["allOf"] = []any{branch()}
	}
}

// mistakes are changes of a schema, most of which are wrong.
var mistakes = []func(s object){
	func(s object) { s["type"] = "null" },
	func(s object) { s["type"] = "text" },
	func(s object) { delete(s, "type") },
	func(s object) { s["type"] = "array" },
	func(s object) { s["$ref"] = "#/definitions/x" },
	func(s object) { s["id"] = "x" },
	func(s object) { s["uniqueItems"] = true },
	func(s object) { s["patternProperties"] = object{"^a": object{"type": "string"}} },
	func(s object) { s["definitions"] = object{"x": object{"type": "string"}} },
	func(s object) { s["dependencies"] = object{"a": []any{"b"}} },
	func(s object) { s["additionalItems"] = false },
	func(s object) { s["items"] = []any{object{"type": "string"}} },
	func(s object) { s["items"] = object{"type": "string", "nullable": true} },
	func(s object) { s["additionalProperties"] = true },
	func(s object) { s["additionalProperties"] = false },
	func(s object) { s["additionalProperties"] = object{"type": "string", "default": 1} },
	func(s object) { s["x-kubernetes-list-type"] = "bag" },
	func(s object) { s["x-kubernetes-list-type"] = "map" },
	func(s object) { s["x-kubernetes-list-type"] = "set" },
	func(s object) { s["x-kubernetes-list-map-keys"] = []any{"a", "a"} },
	func(s object) { s["x-kubernetes-map-type"] = "other" },
	func(s object) { s["x-kubernetes-map-type"] = "atomic" },
	func(s object) { s["x-kubernetes-preserve-unknown-fields"] = false },
	func(s object) { s["x-kubernetes-embedded-resource"] = true },
	func(s object) { s["x-kubernetes-int-or-string"] = true },
	func(s object) { s["pattern"] = "(" },
	func(s object) { s["multipleOf"] = 0 },
	func(s object) { s["minLength"] = -1 },
	func(s object) { s["enum"] = []any{} },
	func(s object) { s["enum"] = []any{"a", "a", 1, nil} },
	func(s object) { s["default"] = nil },
	func(s object) { s["default"] = object{"unknown": object{"deep": 1}} },
	func(s object) { s["default"] = "text" },
	func(s object) { s["anyOf"] = []any{object{"type": "string"}} },
	func(s object) { s["allOf"] = []any{object{"description": "d", "nullable": true, "default": 1}} },
	func(s object) {
		s["not"] = object{"properties": object{"other": object{"minimum": 1}}, "x-kubernetes-int-or-string": true}
	},
	func(s object) { s["oneOf"] = []any{object{"additionalProperties": object{"type": "string"}}} },
	func(s object) { s["nullable"] = true; s["enum"] = []any{"a"} },
	func(s object) { s["required"] = []any{"nosuch", "nosuch"} },
	func(s object) { s["maximum"] = "1" },
	func(s object) { s["nosuchkeyword"] = true },
	func(s object) {
		s["x-kubernetes-validations"] = []any{object{"rule": strings.Repeat("size('a') > 0 && ", 200) + "true"}}
	},
	func(s object) {
		s["properties"] = object{"metadata": object{"type": "object", "default": object{"name": "a"}}}
	},
}

func (g *generator) mistake(s object) { oneOf(g, mistakes...)(s) }
