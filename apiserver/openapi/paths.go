package openapi

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// operation is one method of one path, in neither version's form.
type operation struct {
	method, path    string
	id, description string
	action          string
	kind            schema.GroupVersionKind
	tag             string
	query           []parameter
	inPath          []parameter
	body            any
	patch           bool
	// custom tells that the kind has no Go type, and so no protobuf and no strategic merge.
	custom bool
	answer any
	codes  []int
}

type parameter struct {
	name, description, in, kind string
	required                    bool
}

var (
	patchTypes        = []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType)}
	customPatchTypes  = []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType)}
	objectTypes       = []string{jsonType, "application/yaml", "application/vnd.kubernetes.protobuf"}
	customObjectTypes = []string{jsonType, "application/yaml"}
)

// objectTypes are the media types that the operation answers in, bodyTypes those that it takes.
func (o *operation) objectTypes() []string {
	if o.custom {
		return customObjectTypes
	}
	return objectTypes
}

func (o *operation) bodyTypes() []string {
	switch {
	case o.patch && o.custom:
		return customPatchTypes
	case o.patch:
		return patchTypes
	case o.custom:
		return customObjectTypes
	}
	return []string{"*/*"}
}

// operations returns all operations on the objects of a kind.
func operations(k Kind) []operation {
	gv := k.GroupVersion()
	base := "/" + groupPath(gv)
	all := path{kind: k, url: base + "/" + k.Resource, params: nil}
	collection, scope := all, "ForAllNamespaces"
	if k.Namespaced {
		collection.url = base + "/namespaces/{namespace}/" + k.Resource
		collection.params = []parameter{{"namespace", "object name and auth scope, such as for teams and projects", "path", "string", true}}
	} else {
		scope = ""
	}
	item := collection
	item.url += "/{name}"
	item.params = append([]parameter{{"name", "name of the " + k.Kind, "path", "string", true}}, collection.params...)

	var ops []operation
	if k.Namespaced && k.serves("list") {
		ops = append(ops, all.list(scope))
	}
	ops = append(ops, collection.collectionOperations()...)
	ops = append(ops, item.itemOperations()...)
	for _, s := range k.Subresources {
		ops = append(ops, item.subresourceOperations(s)...)
	}
	for i := range ops {
		ops[i].custom = k.Model != nil
	}
	return ops
}

// path makes the operations of one path.
type path struct {
	kind   Kind
	url    string
	params []parameter
}

func (p path) op(method, verb, action, description string) operation {
	scope := ""
	if p.kind.Namespaced {
		scope = "Namespaced"
	}
	return operation{
		method: method, path: p.url, inPath: p.params, action: action, description: description,
		kind: p.kind.GroupVersionKind, tag: tagOf(p.kind.GroupVersion()),
		id:    verb + groupTitle(p.kind.GroupVersion()) + scope + p.kind.Kind,
		codes: []int{200},
	}
}

func (p path) list(scope string) operation {
	o := p.op("get", "list", "list", "list or watch objects of kind "+p.kind.Kind)
	if scope != "" {
		o.id = "list" + groupTitle(p.kind.GroupVersion()) + p.kind.Kind + scope
	}
	o.query, o.answer = queryOf(metav1.ListOptions{}), p.kind.list()
	return o
}

func (p path) collectionOperations() []operation {
	var ops []operation
	if p.kind.serves("list") {
		ops = append(ops, p.list(""))
	}
	if p.kind.serves("create") {
		o := p.op("post", "create", "post", "create "+article(p.kind.Kind))
		o.query, o.body, o.answer, o.codes = queryOf(metav1.CreateOptions{}), p.kind.sample(), p.kind.sample(), []int{200, 201, 202}
		ops = append(ops, o)
	}
	if p.kind.serves("deletecollection") {
		o := p.op("delete", "delete", "deletecollection", "delete collection of "+p.kind.Kind)
		o.id = strings.Replace(o.id, groupTitle(p.kind.GroupVersion()), groupTitle(p.kind.GroupVersion())+"Collection", 1)
		o.query = append(selectionOnly(queryOf(metav1.ListOptions{})), queryOf(metav1.DeleteOptions{})...)
		o.body, o.answer = &metav1.DeleteOptions{}, &metav1.Status{}
		ops = append(ops, o)
	}
	return ops
}

func (p path) itemOperations() []operation {
	ops := p.objectOperations("", p.kind.sample(), p.kind.serves)
	if p.kind.serves("delete") {
		o := p.op("delete", "delete", "delete", "delete "+article(p.kind.Kind))
		o.query, o.body, o.answer = queryOf(metav1.DeleteOptions{}), &metav1.DeleteOptions{}, &metav1.Status{}
		o.codes = []int{200, 202}
		ops = append(ops, o)
	}
	return ops
}

func (p path) subresourceOperations(s Subresource) []operation {
	has := func(verb string) bool { return slices.Contains(s.Verbs, verb) }
	p.url += "/" + s.Name
	ops := p.objectOperations(s.Name, s.sample(), has)
	if has("create") {
		o := p.op("post", "create", "post", "create "+s.Name+" of "+article(p.kind.Kind))
		o.query, o.body, o.answer, o.codes = queryOf(metav1.CreateOptions{}), s.sample(), s.sample(), []int{200, 201, 202}
		ops = append(ops, o)
	}
	for i := range ops {
		ops[i].id += strings.ToUpper(s.Name[:1]) + s.Name[1:]
		if s.Name != "status" {
			ops[i].kind = s.Kind
		}
	}
	return ops
}

// objectOperations are those that get and put an object; what is its part, if not the whole.
func (p path) objectOperations(what string, object any, has func(string) bool) []operation {
	of := "the specified " + p.kind.Kind
	if what != "" {
		of = what + " of " + of
	}
	var ops []operation
	if has("get") {
		o := p.op("get", "read", "get", "read "+of)
		o.answer = object
		ops = append(ops, o)
	}
	if has("update") {
		o := p.op("put", "replace", "put", "replace "+of)
		o.query, o.body, o.answer, o.codes = queryOf(metav1.UpdateOptions{}), object, object, []int{200, 201}
		ops = append(ops, o)
	}
	if has("patch") {
		o := p.op("patch", "patch", "patch", "partially update "+of)
		o.query, o.body, o.patch, o.answer, o.codes = queryOf(metav1.PatchOptions{}), &metav1.Patch{}, true, object, []int{200, 201}
		ops = append(ops, o)
	}
	return ops
}

// selectionOnly leaves out what is about watching.
func selectionOnly(params []parameter) []parameter {
	return slices.DeleteFunc(params, func(p parameter) bool { return p.name == "watch" || p.name == "allowWatchBookmarks" })
}

func article(kind string) string {
	if strings.ContainsRune("AEIOU", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// queryOf returns the query parameters that an options type stands for.
func queryOf(options documented) []parameter {
	docs, t := options.SwaggerDoc(), reflect.TypeOf(options)
	var out []parameter
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Slice { // dryRun, which is given once
			kind = kind.Elem()
		}
		if name == "" || name == "preconditions" || kind.Kind() == reflect.Struct {
			continue
		}
		out = append(out, parameter{name, docs[name], "query", scalar(kind).Type, false})
	}
	return out
}

// groupTitle is how operation ids name a group and version, as in CoreV1 and CoordinationV1.
func groupTitle(gv schema.GroupVersion) string {
	return title(groupWord(gv.Group)) + title(gv.Version)
}

func tagOf(gv schema.GroupVersion) string { return groupWord(gv.Group) + "_" + gv.Version }

func groupWord(group string) string {
	word, _, _ := strings.Cut(group, ".")
	if word == "" {
		return "core"
	}
	return word
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
