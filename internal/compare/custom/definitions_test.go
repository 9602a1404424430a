package custom

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

var (
	seed        = flag.Uint64("custom.seed", 1, "seed of what is made at random")
	definitions = flag.Int("custom.definitions", 150, "definitions to compare")
	checks      = flag.Int("custom.checks", 400, "definitions to compare the validation of only")
)

// settled waits until both servers tell of a definition that it is, or is not, established, and the same of it.
func (p pair) settled(t *testing.T, path string) (want, got answer) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		want, got = p.both(t, request{method: "GET", path: path})
		took := time.Since(began)
		late := took > 3*time.Second && (want.code == got.code || took > patience) // kube-apiserver may take long to remove
		if same := (findings{}).compare("", "", want, got); late || !same && (want.code != http.StatusOK || judged(want)) {
			return want, got
		}
	}
}

// judged tells whether the controllers have looked at a definition.
func judged(a answer) bool {
	list, _ := within(a.body, "status")["conditions"].([]any)
	seen := map[any]bool{}
	for _, c := range list {
		seen[c.(object)["type"]] = true
	}
	return seen["NamesAccepted"] && seen["Established"]
}

// remove removes a definition from both servers, without a comparison.
func (p pair) remove(t *testing.T, path string) {
	for _, a := range []*api{p.real, p.ours} {
		a.send(t, request{method: "PATCH", path: path, media: mergeType, body: []byte(`{"metadata":{"finalizers":null}}`)})
		a.send(t, request{method: "DELETE", path: path})
	}
}

func (p pair) awaitGone(t *testing.T, path string) {
	t.Helper()
	for _, a := range []*api{p.real, p.ours} {
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if a.send(t, request{method: "GET", path: path}).code == http.StatusNotFound {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there", path)
			}
		}
	}
}

// Both servers say the same of new definitions, most of which are wrong.
func TestValidation(t *testing.T) {
	p := start(t)
	found := findings{}
	refused := 0
	for n := range *checks {
		g := newGenerator(*seed, uint64(n), true)
		d := g.definition(fmt.Sprintf("r%d", n), "checks.test")
		r := request{method: "POST", path: definitionsPath + "?dryRun=All" + oneOf(g, "", "&fieldValidation=Strict", "&fieldValidation=Ignore"), media: jsonType, body: encoded(d)}
		want, got := p.both(t, r)
		if want.code >= 400 {
			refused++
		}
		found.compare("definition check", fmt.Sprintf("%d: %s", n, &r), want, got)
	}
	t.Logf("%d definitions, %d of them refused", *checks, refused)
	report(t, "definition check", found)
}

// Definitions live the same lives: they are made, changed, and removed.
func TestDefinitions(t *testing.T) {
	p := start(t)
	found := findings{}
	writes := 0
	for n := range *definitions {
		g := newGenerator(*seed, 1_000_000+uint64(n), n%3 == 0)
		plural, group := fmt.Sprintf("d%d", n), "defs.test"
		one := definitionsPath + "/" + plural + "." + group
		d := g.definition(plural, group)
		if n%3 != 0 {
			d = p.ours.accepted(t, d)
		}
		r := request{method: "POST", path: definitionsPath, media: jsonType, body: encoded(d)}
		for step := range 4 {
			want, got := p.both(t, r)
			writes++
			what := "definition " + r.method
			if found.compare(what, fmt.Sprintf("%d: %s", n, &r), want, got) {
				break
			}
			if want, got = p.settled(t, one); found.compare(what+" settled", fmt.Sprintf("%d: %s", n, &r), want, got) || want.code != http.StatusOK {
				break
			}
			if r = g.change(one); step == 2 {
				r = request{method: "DELETE", path: one}
			}
		}
		p.remove(t, one)
	}
	t.Logf("%d writes of definitions", writes)
	report(t, "definition (POST|PUT|PATCH|DELETE)", found)
}

// change is a write to an existing definition.
func (g *generator) change(one string) request {
	if g.in(5) {
		patch := oneOf(g, `{"spec":{"names":{"categories":["other"]}}}`, `{"spec":{"names":{"shortNames":["zz"]}}}`, `{"spec":{"preserveUnknownFields":true}}`,
			`{"spec":{"conversion":{"strategy":"None"}}}`, `{"spec":{"versions":[]}}`, `{"metadata":{"labels":{"a":"b"}}}`, `{"spec":{"versions":null}}`)
		return request{method: "PATCH", path: one + oneOf(g, "", "?dryRun=All"), media: mergeType, body: []byte(patch)}
	}
	if g.in(8) {
		patch := oneOf(g, `{"status":{"storedVersions":["v1"]}}`, `{"status":{"storedVersions":[]}}`, `{"status":{"storedVersions":["v9"]}}`,
			`{"status":{"acceptedNames":{"plural":"X"}}}`, `{"spec":{"group":"x.test"}}`, `{"status":{"acceptedNames":{"kind":"Other"}}}`)
		return request{method: "PATCH", path: one + "/status?dryRun=All", media: mergeType, body: []byte(patch)}
	}
	s := g.Uint64()
	path := one + oneOf(g, "", "?fieldValidation=Strict")
	return request{method: "PUT", path: path, media: jsonType, edit: func(live object) {
		own := &generator{rand.New(rand.NewPCG(s, 1)), s%2 == 0}
		own.edit(live)
	}}
}

// edit changes a definition.
func (g *generator) edit(d object) {
	spec := d["spec"].(object)
	versions := spec["versions"].([]any)
	v := oneOf(g, versions...).(object)
	schema := within(v, "schema", "openAPIV3Schema")
	oneOf(g,
		func() { spec["versions"] = g.versions() },
		func() { // another version is stored
			last := versions[len(versions)-1].(object)
			for _, each := range versions {
				each.(object)["storage"] = false
			}
			last["storage"] = true
		},
		func() { spec["versions"] = versions[1:] },
		func() { spec["versions"] = append(versions, g.version("v7", g.root(), false)) },
		func() { v["schema"] = object{"openAPIV3Schema": g.root()} },
		func() { g.decorate(within(schema, "properties", "spec")) },
		func() { within(schema, "properties", "spec", "properties")["more"] = g.schema(2) },
		func() { v["served"] = !v["served"].(bool) },
		func() { v["additionalPrinterColumns"] = g.columns(leavesOf(schema, "", nil)) },
		func() { v["selectableFields"] = g.selectable(leavesOf(schema, "", nil)) },
		func() { spec["scope"] = oneOf(g, "Cluster", "Namespaced") },
		func() { within(spec, "names")["kind"] = "Renamed" },
		func() { within(spec, "names")["plural"] = "renamed" },
		func() { within(spec, "names")["singular"] = "renamed" },
		func() { spec["group"] = "renamed.test" },
		func() { g.slip(d) },
	)()
}
