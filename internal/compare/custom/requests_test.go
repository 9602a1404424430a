package custom

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/internal/compare/diff"
)

// resource is what a definition defines.
type resource struct {
	kind, plural, group, scope string
	// various tells that the schemas of its versions differ.
	various bool
	// served are versions, with their schemas.
	served  []string
	schemas map[string]object
	fields  map[string][]string // that selectors may name, by version
	status  map[string]bool
}

func newResource(d object) *resource {
	spec := d["spec"].(object)
	names := spec["names"].(object)
	r := &resource{kind: names["kind"].(string), plural: names["plural"].(string), group: spec["group"].(string), scope: spec["scope"].(string),
		schemas: map[string]object{}, fields: map[string][]string{}, status: map[string]bool{}}
	var first object
	for _, each := range spec["versions"].([]any) {
		v := each.(object)
		if first == nil {
			first = within(v, "schema", "openAPIV3Schema")
		}
		if v["served"] != true {
			continue
		}
		name := v["name"].(string)
		r.served = append(r.served, name)
		r.schemas[name] = within(v, "schema", "openAPIV3Schema")
		r.various = r.various || string(encoded(r.schemas[name])) != string(encoded(first))
		sub, _ := v["subresources"].(object)
		r.status[name] = sub["status"] != nil
		list, _ := v["selectableFields"].([]any)
		for _, f := range list {
			r.fields[name] = append(r.fields[name], strings.TrimPrefix(f.(object)["jsonPath"].(string), "."))
		}
	}
	return r
}

func (r *resource) path(version string) string {
	path := "/apis/" + r.group + "/" + version
	if r.scope == "Namespaced" {
		path += "/namespaces/default"
	}
	return path + "/" + r.plural
}

// writer makes requests about one object of a resource.
type writer struct {
	*generator
	*resource
	name string
}

// object is a whole object, good mostly.
func (w *writer) object(version string, wrong bool) object {
	o, ok := w.value(w.schemas[version], wrong).(object)
	if !ok {
		o = object{}
	}
	if w.in(30) {
		o["apiVersion"], o["kind"] = w.group+"/v9", "Other"
	} else {
		o["apiVersion"], o["kind"] = w.group+"/"+version, w.kind
	}
	meta := object{"name": w.name}
	o["metadata"] = meta
	for _, label := range []string{"a", "b"} {
		if w.in(3) {
			within(meta, "labels")[label] = oneOf(w.generator, "1", "2", "x")
		}
	}
	if w.in(6) {
		meta["annotations"] = object{"p": oneOf(w.generator, "q", "r")}
	}
	if w.in(10) {
		meta["finalizers"] = []any{oneOf(w.generator, "a.test/f", "nodomain", "no good")}
	}
	if w.in(15) {
		meta[oneOf(w.generator, "nosuch", "labels", "generation", "creationTimestamp", "ownerReferences", "managedFields")] = diff.Copy(oneOf(w.generator, odd...))
	}
	return o
}

func (w *writer) options(more ...string) string {
	q := append([]string{"fieldManager=" + oneOf(w.generator, "one", "two", "three")}, more...)
	if w.in(8) {
		q = append(q, "dryRun=All")
	}
	if w.in(2) {
		q = append(q, "fieldValidation="+oneOf(w.generator, "Ignore", "Warn", "Strict"))
	}
	return "?" + strings.Join(q, "&")
}

func (w *writer) create() request {
	version := oneOf(w.generator, w.served...)
	o := w.object(version, w.in(6))
	if w.in(20) {
		delete(o["metadata"].(object), "name")
		o["metadata"].(object)["generateName"] = "gen-"
		return request{method: "POST", path: w.path(version) + w.options("dryRun=All"), media: jsonType, body: encoded(o)}
	}
	r := request{method: "POST", path: w.path(version) + w.options(), media: jsonType, body: encoded(o)}
	switch w.IntN(12) {
	case 0:
		r.media, r.body = yamlType, must1(yaml.Marshal(o))
	case 1:
		r.media, r.body = cborType, must1(direct.Marshal(o))
	case 2:
		r.body = []byte(strings.Replace(string(r.body), `"spec":{`, `"spec":{"a":1,"a":2,`, 1))
	}
	return r
}

func must1(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// next is one of all the requests about an object that may exist.
func (w *writer) next() request {
	version := oneOf(w.generator, w.served...)
	item, sub := w.path(version)+"/"+w.name, ""
	if w.in(4) {
		sub = "/status"
	}
	switch n := w.IntN(28); {
	case n < 6:
		return w.put(version, item+sub)
	case n < 10:
		return request{method: "PATCH", path: item + sub + w.options(), media: mergeType, body: encoded(w.fragment(version))}
	case n < 11:
		return request{method: "PATCH", path: item + sub + w.options(), media: strategicType, body: encoded(w.fragment(version))}
	case n < 13:
		return request{method: "PATCH", path: item + sub + w.options(), media: patchType, body: encoded(w.operations(version))}
	case n < 18:
		o := w.object(version, w.in(10))
		if w.in(2) {
			delete(o, oneOf(w.generator, "spec", "status", "extra"))
		}
		return request{method: "PATCH", path: item + sub + w.options(oneOf(w.generator, "force=true", "force=false")), media: applyType, body: encoded(o)}
	case n < 19:
		return w.create()
	case n < 22:
		return w.scale(item)
	case n < 23:
		return request{method: "GET", path: item + sub, accept: w.accept()}
	case n < 26:
		return w.list(version)
	case n < 27:
		return request{method: oneOf(w.generator, "POST", "PUT", "PATCH", "DELETE"), path: oneOf(w.generator, item, w.path(version), item+"/nosuch"),
			media: oneOf(w.generator, jsonType, mergeType, "text/plain", "application/vnd.kubernetes.protobuf", applyType),
			body:  []byte(oneOf(w.generator, "", "{", "[]", "null", `"text"`, `{"metadata":[]}`, `{"apiVersion":"x/y/z","kind":"Z"}`, `{"spec":1}`))}
	}
	o := object{}
	if w.in(3) {
		o = object{"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": oneOf(w.generator, "Foreground", "Background", "Orphan"), "gracePeriodSeconds": oneOf[any](w.generator, 0, 5, nil)}
	}
	return request{method: "DELETE", path: item + oneOf(w.generator, "", "?dryRun=All"), media: jsonType, body: encoded(o)}
}

func (w *writer) put(version, path string) request {
	seed := w.Uint64()
	return request{method: "PUT", path: path + w.options(), media: jsonType, edit: func(live object) {
		own := &generator{Rand: rand.New(rand.NewPCG(seed, 3))}
		for range own.IntN(4) {
			own.mutate(live, w.schemas[version])
		}
		meta := within(live, "metadata")
		switch own.IntN(12) {
		case 0:
			meta["labels"] = object{"a": oneOf(own, "1", "2")}
		case 1:
			delete(meta, "resourceVersion")
		case 2:
			meta["resourceVersion"] = "1"
		case 3:
			delete(meta, "managedFields")
		}
	}}
}

// fragment is a part of an object, as a patch.
func (w *writer) fragment(version string) object {
	o := w.object(version, w.in(4))
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if w.in(2) {
			delete(o, key)
		}
	}
	for _, key := range []string{"spec", "status"} {
		part, _ := o[key].(object)
		for _, name := range slices.Sorted(maps.Keys(part)) {
			if w.in(3) {
				delete(part, name)
			} else if w.in(8) {
				part[name] = nil
			}
		}
	}
	return o
}

func (w *writer) operations(version string) []any {
	paths := []string{"/metadata/labels", "/metadata/labels/a", "/spec", "/metadata/name", "/nosuch/x", "/metadata/finalizers/-", "/status"}
	for _, l := range leavesOf(w.schemas[version], "", nil) {
		if !strings.Contains(l.path, "[") {
			paths = append(paths, strings.ReplaceAll(l.path, ".", "/"))
		}
	}
	var ops []any
	for range 1 + w.IntN(2) {
		o := object{"op": oneOf(w.generator, "add", "replace", "remove", "test", "add"), "path": oneOf(w.generator, paths...)}
		if o["op"] != "remove" {
			o["value"] = diff.Copy(oneOf(w.generator, odd...))
		}
		ops = append(ops, o)
	}
	return ops
}

func (w *writer) scale(item string) request {
	scale := object{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object{"name": w.name}, "spec": object{"replicas": oneOf[any](w.generator, 0, 3, 5, -1, "x", 1<<40)}}
	path := item + "/scale"
	switch w.IntN(4) {
	case 0:
		return request{method: "GET", path: path}
	case 1:
		return request{method: "PUT", path: path + w.options(), media: jsonType, edit: func(live object) { live["spec"] = scale["spec"] }}
	case 2:
		return request{method: "PATCH", path: path + w.options("force=true"), media: applyType, body: encoded(scale)}
	}
	delete(scale, "kind")
	delete(scale, "apiVersion")
	return request{method: "PATCH", path: path + w.options(), media: mergeType, body: encoded(scale)}
}

func (w *writer) accept() string {
	return oneOf(w.generator, "", jsonType, yamlType, cborType, "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io",
		"application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
		"application/vnd.kubernetes.protobuf, application/json", "text/html", "*/*", "application/yaml;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Nothing;v=v1;g=meta.k8s.io")
}

// list is a list of the sequence's own object, or of those that a selector finds.
func (w *writer) list(version string) request {
	q := url.Values{}
	switch w.IntN(5) {
	case 0:
		q.Set("labelSelector", oneOf(w.generator, "a=1", "a in (1,2),b", "!a", "a!=1", "a=="))
	case 1, 2:
		if names := w.fields[version]; len(names) > 0 {
			q.Set("fieldSelector", oneOf(w.generator, names...)+oneOf(w.generator, "=", "!=", "==")+oneOf(w.generator, "a", "", "true", "false", "1", "5", "abc", "One"))
		} else {
			q.Set("fieldSelector", "spec.a=b")
		}
	case 3:
		q.Set("fieldSelector", "metadata.name="+w.name)
	default:
		q.Set("limit", fmt.Sprint(w.IntN(3)))
	}
	if w.in(8) {
		q.Set("fieldSelector", oneOf(w.generator, "nosuch=a", "metadata.namespace=default", "metadata.name!=x", "spec=a", "metadata.labels.a=1"))
	}
	return request{method: "GET", path: w.path(version) + "?" + q.Encode(), accept: w.accept()}
}
