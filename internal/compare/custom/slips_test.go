package custom

import (
	"strings"

	"github.com/inboard/inboard/internal/compare/diff"
)

// slip changes a definition at one place outside its schemas, wrongly mostly.
func (g *generator) slip(d object) {
	spec, ok := d["spec"].(object)
	if !ok {
		return
	}
	names, _ := spec["names"].(object)
	versions, _ := spec["versions"].([]any)
	if names == nil || len(versions) == 0 {
		return
	}
	v := oneOf(g, versions...).(object)
	text := oneOf(g, "", "Upper", "a_b", "a.b", "1", "-", "ok", strings.Repeat("long", 20))
	oneOf(g,
		func() { d["metadata"].(object)["name"] = "other.name" },
		func() { spec["group"] = oneOf(g, "", "nodot", "Upper.test", "a.k8s.io", "custom.test") },
		func() { spec["scope"] = oneOf(g, "", "Global") },
		func() { names[oneOf(g, "plural", "singular", "kind", "listKind")] = text },
		func() { names["listKind"] = names["kind"] },
		func() { names["shortNames"] = []any{text, "x"} },
		func() { names["categories"] = []any{text} },
		func() { spec["versions"] = []any{} },
		func() { spec["versions"] = append(versions, diff.Copy(versions[0])) },
		func() { v["name"] = text },
		func() { v["storage"] = !v["storage"].(bool) },
		func() { v["served"] = false },
		func() { delete(v, "schema") },
		func() { v["schema"] = object{} },
		func() {
			v["deprecationWarning"] = oneOf(g, "", "not deprecated", strings.Repeat("long", 65), "line\nbreak")
		},
		func() { v["deprecated"] = true },
		func() { v["subresources"] = object{"scale": g.wrongScale()} },
		func() { spec["preserveUnknownFields"] = true },
		func() { spec["conversion"] = g.wrongConversion() },
		func() { spec["nosuch"] = 1 },
		func() { v["nosuch"] = object{} },
		func() { d["status"] = object{"storedVersions": []any{"v7"}} },
		func() { d["metadata"].(object)["labels"] = object{"-": "-"} },
		func() {
			d["metadata"].(object)["annotations"] = object{"api-approved.kubernetes.io": oneOf(g, "https://x.test", "unapproved, why", "nonsense", "")}
			spec["group"] = "things.k8s.io"
			d["metadata"].(object)["name"] = names["plural"].(string) + ".things.k8s.io"
		},
		func() { d["metadata"].(object)["finalizers"] = []any{oneOf(g, "a.test/f", "noslash", "a b")} },
	)()
}

func (g *generator) wrongScale() object {
	path := func() any {
		return oneOf[any](g, "", ".spec.replicas", ".status.replicas", "spec.replicas", ".spec", ".other.n", ".spec.a[0]", ".spec.replicas.", 1)
	}
	s := object{"specReplicasPath": path(), "statusReplicasPath": path()}
	if g.in(2) {
		s["labelSelectorPath"] = path()
	}
	return s
}

func (g *generator) wrongConversion() object {
	c := object{"strategy": oneOf(g, "Webhook", "Webhook", "Webhook", "None", "", "Other")}
	if !g.in(5) {
		hook := object{"conversionReviewVersions": oneOf(g, []any{"v1"}, []any{"v1beta1", "v1"}, []any{}, []any{"v9"}, []any{"v1", "v1"}, []any{"V1!"})}
		config := object{}
		if g.in(2) {
			config["url"] = oneOf(g, "https://a.test/x", "http://a.test", "https://", "https://u:p@a.test", "https://a.test/#f", "https://a.test?q", "::")
		}
		if g.in(2) {
			s := object{"name": oneOf(g, "svc", ""), "namespace": oneOf(g, "ns", "")}
			if g.in(2) {
				s["path"] = oneOf(g, "/", "//", "a", "/a//b", "/Upper", "/ok", "")
			}
			if g.in(2) {
				s["port"] = oneOf(g, 0, 443, 70000)
			}
			config["service"] = s
		}
		if g.in(3) {
			config["caBundle"] = oneOf(g, "bm9uc2Vuc2U=", "", "!")
		}
		hook["clientConfig"] = config
		c["webhook"] = hook
	}
	return c
}
