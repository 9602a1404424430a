package custom

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// expressions are rules by the type of what they are about. Those of "" suit any.
var expressions = map[string][]string{
	"": {"self == oldSelf", "true", "false", "self != oldSelf", "type(self) == type(self)", "dyn(self) == dyn(self)"},
	"string": {"self.size() < 5", "self != 'bad'", "self.startsWith('a') || self == ''", "self.matches('^[a-z]+$')", "self.lowerAscii() == self",
		"!format.dns1123Label().validate(self).hasValue()", "quantity(self).isGreaterThan(quantity('1'))", "isURL(self)",
		"isIP(self) ? ip(self).family() == 4 : true", "int(self) > 3", "self.find('[0-9]+') == ''", "oldSelf.size() <= self.size()",
		"self.split(',').all(x, x.size() < 3)", "isSemver(self) || self.contains('a')", "duration(self) < duration('1h')"},
	"integer": {"self > 0", "self <= 10", "self >= oldSelf", "100 / self > 1", "self % 2 == 0", "string(self).size() < 3", "[self, 3].max() > 2"},
	"number":  {"self < 7.5", "self >= oldSelf", "double(self) > 0.0"},
	"boolean": {"self", "!self || oldSelf", "self == true"},
	"map":     {"self.all(k, k.size() < 4)", "size(self) < 3", "self.exists(k, k == 'a')", "self.all(k, k in oldSelf)", "self.map(k, k).size() > 0", "self.all(k, v, v == v)"},
	"array": {"self.size() < 3", "self.all(x, x == x)", "self.exists_one(x, true)", "self.size() >= oldSelf.size()",
		"self == self + []", "self.filter(x, true).size() == self.size()", "oldSelf.all(x, x in self)", "sets.contains(self, self)"},
	"object": {"has(self.~)", "!has(self.~) || self.~ == self.~", "has(self.~) == has(oldSelf.~)", "!has(oldSelf.~) || has(self.~)",
		"!has(self.~) || self.~ == oldSelf.~", "self.?~.hasValue()"},
	"root": {"self.metadata.name.size() < 30", "has(self.spec)", "!has(self.status) || has(self.spec)", "self.kind != 'Nothing'", "self.metadata.name.startsWith('s')",
		"!has(self.metadata.generateName)", "has(self.spec) == has(oldSelf.spec)"},
	"wrong": {"self.", "nosuch", "self + self + 1", "'text'", "self.nosuch == 1", "self.all(x, y)", "", " ", "true\n|| false", "oldSelf", "self.exists(x, x)",
		"has(self)", "self.all(x, self.exists(y, x == y))", "optional.none()", "[1,2,3].all(x, [1,2,3].all(y, x == y))", "self.matches('(')", "duration('1')  > duration('x')", "1 / 0 == 1"},
}

// rules are some rules about the values of a schema.
func (g *generator) rules(s object) []any {
	var out []any
	for range 1 + g.IntN(2) {
		out = append(out, g.rule(s))
	}
	return out
}

func (g *generator) rule(s object) object {
	r := object{"rule": g.expression(s)}
	if g.in(3) {
		r["message"] = oneOf(g, "not so", "no, really not", "{self}")
	}
	if g.in(4) {
		r["messageExpression"] = oneOf(g, `"is wrong"`, `"a" + string(1 + 1)`, `''`, `'a' + ' '`, `has(self.~) ? "has it" : "has not"`, `"1" + "2"`, "string(self)", `'line\nline'`)
		r["messageExpression"] = g.named(r["messageExpression"].(string), s)
		if _, ok := s["properties"]; !ok && strings.Contains(r["messageExpression"].(string), "has(") || s["type"] == "object" && r["messageExpression"] == "string(self)" {
			delete(r, "messageExpression")
		}
	}
	if g.in(4) {
		r["reason"] = oneOf(g, "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
	}
	if props, ok := s["properties"].(object); ok && g.in(3) {
		name := oneOf(g, slices.Sorted(maps.Keys(props))...)
		r["fieldPath"] = "." + name
		if !plain.MatchString(name) {
			r["fieldPath"] = "['" + name + "']"
		}
	}
	if strings.Contains(r["rule"].(string), "oldSelf") && g.in(3) {
		r["rule"] = strings.ReplaceAll(r["rule"].(string), "oldSelf", "oldSelf.orValue(self)")
		r["optionalOldSelf"] = true
	}
	if g.bad(6) {
		oneOf(g,
			func() { r["message"] = oneOf(g, " ", "two\nlines", "") },
			func() {
				r["messageExpression"] = oneOf(g, " ", "nosuch", "1", "self.nosuch", "'a' +", "oldSelf == self ? 'a' : 'b'")
			},
			func() { r["reason"] = oneOf(g, "Whatever", "") },
			func() {
				r["fieldPath"] = oneOf(g, " ", ".nosuch", "a", ".a[0]", "..", ".a\n", ".metadata.name", "['a']", "."+oneOf(g, fieldNames...))
			},
			func() { r["optionalOldSelf"] = oneOf(g, true, false) },
			func() { r["nosuch"] = 1 },
		)()
	}
	return r
}

var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*$`)

// escapes are names as CEL takes them.
var escapes = strings.NewReplacer("-", "__dash__", ".", "__dot__", "namespace", "__namespace__")

func (g *generator) expression(s object) string {
	if g.bad(4) {
		return oneOf(g, expressions["wrong"]...)
	}
	kind, _ := s["type"].(string)
	props, hasProps := s["properties"].(object)
	switch {
	case s["additionalProperties"] != nil:
		kind = "map"
	case kind == "object" && !hasProps:
		kind = ""
	case kind == "object" && props["spec"] != nil && g.in(2):
		kind = "root"
	}
	if g.in(5) {
		kind = ""
	}
	if kind == "" && !g.in(5) {
		return oneOf(g, "true", "type(self) == type(self)", "!false") // comparisons of what has no bounds cost too much
	}
	return g.named(oneOf(g, expressions[kind]...), s)
}

// named puts the name of a property where an expression has "~".
func (g *generator) named(text string, s object) string {
	props, _ := s["properties"].(object)
	names := slices.Sorted(maps.Keys(props))
	if len(names) == 0 {
		names = []string{"a"}
	}
	return strings.ReplaceAll(text, "~", escapes.Replace(oneOf(g, names...)))
}
