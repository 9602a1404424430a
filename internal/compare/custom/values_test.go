package custom

import (
	"maps"
	"slices"

	"github.com/inboard/inboard/internal/compare/diff"
)

// odd are values that someone might send in place of others.
var odd = []any{
	"", "a", "Not_A_Label", "x/y", " spaced ", "25%", "10.0.0.300", "a-name-that-is-much-too-long-for-most-of-what-has-a-length-limit",
	"1Gi", "-1", "2020-01-01", "\u00e4", -1, 0, 1, 2, 65536, 1 << 31, 1 << 53, 1.5, 1e30, true, false, nil, []any{}, []any{nil}, []any{"a", "a"},
	[]any{1, "a"}, []any{object{"name": "a"}, object{"name": "a"}}, object{}, object{"a": "b"}, object{"a": nil},
	object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "x", "labels": object{"-": "y"}, "nosuch": 1}},
}

var words = []string{"a", "b", "abc", "a1", "One", "Two", "x1", "bad", "2020-01-01", "10.0.0.1", "a.b", "YWJj", "1h", "3", "50%"}

// formatted are values of formats.
var formatted = map[string]string{"date": "2020-02-03", "date-time": "2020-02-03T04:05:06Z", "email": "a@b.test", "ipv4": "10.0.0.1", "ipv6": "::1",
	"uuid": "01234567-89ab-4cde-8123-456789abcdef", "byte": "YWJj", "duration": "3h", "hostname": "a.test", "uri": "https://a.test/x", "cidr": "10.0.0.0/8",
	"mac": "00:11:22:33:44:55", "hexcolor": "#fff"}

// value is one that a schema describes, mostly; one that does not when wrong.
func (g *generator) value(s object, wrong bool) any {
	if wrong && g.in(3) {
		return diff.Copy(oneOf(g, odd...))
	}
	if s["nullable"] == true && g.in(6) {
		return nil
	}
	if list, ok := s["enum"].([]any); ok && len(list) > 0 && !g.in(10) {
		return oneOf(g, list...)
	}
	switch s["type"] {
	case "string":
		return g.text(s)
	case "integer":
		return g.IntN(12)
	case "number":
		return oneOf[any](g, 1, 2.5, 7, 0.5, 3.0)
	case "boolean":
		return g.in(2)
	case "array":
		return g.list(s, wrong)
	case "object":
		return g.members(s, wrong)
	}
	if s["x-kubernetes-int-or-string"] == true {
		return oneOf[any](g, 5, "50%", "7", 200)
	}
	return diff.Copy(oneOf(g, odd...))
}

func (g *generator) text(s object) string {
	format, _ := s["format"].(string)
	if v := formatted[format]; v != "" && !g.in(6) {
		return v
	}
	if s["pattern"] != nil && !g.in(6) {
		return oneOf(g, "a", "abc", "a1")
	}
	return oneOf(g, words...)
}

func (g *generator) list(s object, wrong bool) any {
	items, ok := s["items"].(object)
	if !ok {
		return []any{}
	}
	out := []any{}
	for range g.IntN(4) {
		out = append(out, g.value(items, wrong))
	}
	if s["x-kubernetes-list-type"] == "set" && !g.in(8) {
		seen := map[string]bool{}
		out = slices.DeleteFunc(out, func(v any) bool {
			key := string(encoded(v))
			was := seen[key]
			seen[key] = true
			return was
		})
	}
	return out
}

func (g *generator) members(s object, wrong bool) any {
	out := object{}
	if s["x-kubernetes-embedded-resource"] == true {
		out["apiVersion"], out["kind"], out["metadata"] = oneOf(g, "v1", "apps/v1", "a/b/c"), oneOf(g, "Pod", "X"), object{"name": oneOf(g, "a", "A_B")}
		if g.in(4) {
			out["metadata"].(object)["labels"] = object{"x": oneOf[any](g, "y", "no good", 1)}
		}
		if g.in(6) {
			delete(out, oneOf(g, "apiVersion", "kind", "metadata"))
		}
	}
	props, _ := s["properties"].(object)
	required, _ := s["required"].([]any)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		if need := slices.Contains(required, any(name)); g.in(3) && !need || need && g.in(25) {
			continue
		}
		if p, ok := props[name].(object); ok {
			out[name] = g.value(p, wrong)
		}
	}
	if more, ok := s["additionalProperties"].(object); ok {
		for range g.IntN(3) {
			out[oneOf(g, "a", "b", "long-key", "x/y")] = g.value(more, wrong)
		}
	}
	if g.in(12) || s["x-kubernetes-preserve-unknown-fields"] == true && g.in(2) {
		out[oneOf(g, "unknown", "other", "A")] = diff.Copy(oneOf(g, odd...))
	}
	return out
}

// mutate changes something in a value, deep inside mostly, by its schema if that is known.
func (g *generator) mutate(v any, s object) {
	switch v := v.(type) {
	case object:
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(v)), func(k string) bool { return k == "apiVersion" || k == "kind" || k == "metadata" })
		props, _ := s["properties"].(object)
		if len(keys) == 0 || g.in(6) {
			if names := slices.Sorted(maps.Keys(props)); len(names) > 0 {
				name := oneOf(g, names...)
				if p, ok := props[name].(object); ok && name != "metadata" {
					v[name] = g.value(p, g.in(8))
				}
			}
			return
		}
		key := oneOf(g, keys...)
		below, ok := props[key].(object)
		if more, isMap := s["additionalProperties"].(object); isMap && !ok {
			below = more
		}
		switch {
		case isDeep(v[key]) && !g.in(4):
			g.mutate(v[key], below)
		case g.in(4):
			delete(v, key)
		case below != nil:
			v[key] = g.value(below, g.in(8))
		default:
			v[key] = diff.Copy(oneOf(g, odd...))
		}
	case []any:
		if len(v) == 0 {
			return
		}
		i := g.IntN(len(v))
		items, _ := s["items"].(object)
		if isDeep(v[i]) && !g.in(4) {
			g.mutate(v[i], items)
		} else {
			v[i] = g.value(items, g.in(8))
		}
	}
}

func isDeep(v any) bool {
	switch v := v.(type) {
	case object:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}
