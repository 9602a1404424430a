package requests

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/inboard/inboard/internal/compare/diff"
)

type object = map[string]any

// generator makes requests about one object.
type generator struct {
	*rand.Rand
	kind *kind
	name string
}

// newGenerator returns the generator of a test's nth sequence.
func newGenerator(k *kind, test string, n int) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(*seed, uint64(n))), kind: k, name: fmt.Sprintf("%s%d-%d", test, *seed, n)}
}

// request is what is sent. Edit, when not nil, makes the body from the object as it is on each server; encode brings
// what is JSON into the form that media tells.
type request struct {
	method, path, media string
	body                []byte
	header              http.Header
	edit                func(live object)
	encode              func(body []byte) []byte
}

func (r *request) String() string {
	return fmt.Sprintf("%s %s %s %s %s", r.method, r.path, r.media, r.header, r.body)
}

// Values that someone might send in place of others.
var odd = []any{
	"", "a", "Not_A_Label", "-bad", "x/y", "example.com/thing", " spaced ", "Always", "None", "TCP", "IPv4", "25%", "150%", "10.0.0.300", "v2",
	"a-name-that-is-much-too-long-for-a-label-because-labels-end-at-sixty-three-characters", "1Gi", "100m", "-1", "metadata.name", "\u00e4\u0000",
	-1, 0, 1, 65536, 1 << 31, 1 << 40, 1.5, true, false, nil, []any{}, []any{nil}, []any{"a", "a"}, object{}, object{"a": "b"}, object{"a": nil},
}

// mutate changes n places of a document, in place.
func (g *generator) mutate(doc object, n int) {
	for range n {
		g.change(doc)
	}
}

func (g *generator) change(v any) {
	switch v := v.(type) {
	case object:
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(v)), func(k string) bool {
			return k == "apiVersion" || k == "kind" || k == "name" || k == "namespace" || k == "generateName"
		})
		if len(keys) == 0 || g.IntN(12) == 0 {
			v["noSuchField"] = g.value()
			return
		}
		key := keys[g.IntN(len(keys))]
		if !g.deeper(v[key]) {
			if g.IntN(4) == 0 {
				delete(v, key)
			} else {
				v[key] = g.value()
			}
		}
	case []any:
		if len(v) == 0 {
			return
		}
		i := g.IntN(len(v))
		if !g.deeper(v[i]) {
			v[i] = g.value()
		}
	}
}

// deeper changes something within v, mostly, and tells whether it did.
func (g *generator) deeper(v any) bool {
	switch in := v.(type) {
	case object:
		if len(in) == 0 || g.IntN(8) == 0 {
			return false
		}
	case []any:
		if len(in) == 0 || g.IntN(6) == 0 {
			return false
		}
	default:
		return false
	}
	g.change(v)
	return true
}

func (g *generator) value() any { return diff.Copy(odd[g.IntN(len(odd))]) }

// object returns one of the kind's good objects, changed in some places.
func (g *generator) object(changes int) object {
	o := diff.Copy(g.kind.samples[g.IntN(len(g.kind.samples))]).(object)
	o["apiVersion"], o["kind"] = g.kind.apiVersion, g.kind.GroupVersionKind.Kind
	meta, ok := o["metadata"].(object)
	if !ok {
		meta = object{}
		o["metadata"] = meta
	}
	delete(meta, "resourceVersion")
	delete(meta, "uid")
	delete(meta, "deletionTimestamp")
	g.mutate(o, changes)
	if meta, ok = o["metadata"].(object); !ok {
		return o
	}
	meta["name"] = g.name
	delete(meta, "generateName")
	delete(meta, "namespace")
	if g.kind.Namespaced && g.IntN(2) == 0 {
		meta["namespace"] = g.kind.namespace
	}
	return o
}

func (g *generator) one(list ...string) string { return list[g.IntN(len(list))] }

// options are the query of a write.
func (g *generator) options() string {
	q := []string{"fieldManager=test"}
	if g.IntN(6) == 0 {
		q = append(q, "dryRun=All")
	}
	if g.IntN(3) == 0 {
		q = append(q, "fieldValidation="+g.one("Ignore", "Warn", "Strict"))
	}
	if g.IntN(40) == 0 {
		q = append(q, g.one("dryRun=Some", "fieldValidation=Maybe", "fieldManager=a%0Ab", "pretty=1"))
	}
	return "?" + strings.Join(q, "&")
}

const (
	jsonType      = "application/json"
	mergeType     = "application/merge-patch+json"
	patchType     = "application/json-patch+json"
	strategicType = "application/strategic-merge-patch+json"
	applyType     = "application/apply-patch+yaml"
)

// create is the request that each sequence begins with: mostly a good object, so that there is one to
// go on with.
func (g *generator) create() request {
	o := g.object([]int{0, 0, 1, 1, 2, 3}[g.IntN(6)])
	return request{method: "POST", path: g.kind.path + g.options(), media: jsonType, body: encoded(o)}
}

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// next is one of all the requests about an object that may exist.
func (g *generator) next() request {
	item := g.kind.path + "/" + g.name
	sub := ""
	if g.kind.Status && g.IntN(4) == 0 {
		sub = "/status"
	}
	switch n := g.IntN(24); {
	case n < 6:
		seed := g.Uint64()
		changes := g.IntN(3)
		return request{method: "PUT", path: item + sub + g.options(), media: jsonType, edit: func(live object) {
			own := *g
			own.Rand = rand.New(rand.NewPCG(seed, 7))
			own.mutate(live, changes)
		}}
	case n < 9:
		return request{method: "PATCH", path: item + sub + g.options(), media: mergeType, body: g.fragment()}
	case n < 12:
		return request{method: "PATCH", path: item + sub + g.options(), media: strategicType, body: g.fragment()}
	case n < 14:
		return request{method: "PATCH", path: item + sub + g.options(), media: patchType, body: g.jsonPatch()}
	case n < 16:
		return request{method: "PATCH", path: item + sub + g.options() + g.one("", "&force=true"), media: applyType, body: encoded(g.object(g.IntN(2)))}
	case n < 17:
		return g.create()
	case n < 18:
		return request{method: "GET", path: item + sub + g.one("", "", "?resourceVersion=x", "?pretty=true")}
	case n < 21:
		return g.list()
	case n < 22:
		return request{method: g.one("POST", "PUT", "PATCH", "DELETE"), path: g.one(item, g.kind.path, item+"/nosuch", item+"/scale"), media: g.one(jsonType, mergeType, "text/plain"), body: g.junk()}
	default:
		o := object{}
		if g.IntN(3) == 0 {
			o = object{"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": g.one("Foreground", "Background", "Orphan", "Whatever"), "gracePeriodSeconds": []any{0, 1, nil, -1}[g.IntN(4)]}
		}
		if g.IntN(6) == 0 {
			o["preconditions"] = object{"uid": "another"}
		}
		return request{method: "DELETE", path: item + g.one("", "", "?dryRun=All"), media: jsonType, body: encoded(o)}
	}
}

// fragment is a part of a changed object, as a patch.
func (g *generator) fragment() []byte {
	o := g.object(1 + g.IntN(2))
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if g.IntN(2) == 0 {
			delete(o, key)
		}
	}
	return encoded(o)
}

func (g *generator) jsonPatch() []byte {
	var ops []object
	for range 1 + g.IntN(2) {
		o := object{"op": g.one("add", "replace", "remove", "test", "add"), "path": g.one("/metadata/labels", "/metadata/labels/a", "/spec", "/metadata/name", "/nosuch/x", "/metadata/annotations", "/data/a", "/metadata/finalizers/-")}
		if o["op"] != "remove" {
			o["value"] = g.value()
		}
		ops = append(ops, o)
	}
	return encoded(ops)
}

func (g *generator) junk() []byte {
	return []byte(g.one("", "{", "[]", "null", `"text"`, `{"kind":"Nothing","apiVersion":"v1"}`, `{"metadata":[]}`, "\xff", `{"apiVersion":"x/y/z"}`))
}

// list is a list of the sequence's own objects: those with its label, or of its name.
func (g *generator) list() request {
	q := []string{g.one("fieldSelector=metadata.name%3D"+g.name, "labelSelector=sequence%3D"+g.name, "fieldSelector=metadata.name%3D"+g.name+",metadata.namespace%3D"+g.kind.namespace)}
	for _, more := range []string{
		// Nothing that kube-apiserver may answer from its cache, which trails.
		"limit=1", "limit=x", "resourceVersionMatch=Exact", "fieldSelector=nosuch%3Dx",
		"labelSelector=%21%21", "continue=x", "timeoutSeconds=x", "resourceVersion=0&resourceVersionMatch=Sometime", "sendInitialEvents=true",
	} {
		if g.IntN(14) == 0 {
			q = append(q, more)
		}
	}
	return request{method: "GET", path: g.kind.path + "?" + strings.Join(q, "&")}
}
