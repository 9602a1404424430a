package apiserver

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// A merge patch says by its keys which fields it is about; all others stay as they are. So only those go the way
// through JSON, and managed fields, mostly the largest part of an object, do not. The way is the same otherwise: the
// same libraries, the same checks. Whatever can't be told so, and all errors, are left to the whole way, which words
// them. TestPatchedPartIsPlain holds both ways equal.

// fieldPaths are the places of fields of a struct that a patch is about, as reflect's FieldByIndex takes them.
type fieldPaths [][]int

// mentioned returns the fields of an object that a patch names. It looks into structs and no further. Ok is false
// for patches that mean more than that: with directives, or fields that the type has not.
func mentioned(obj reflect.Type, patch map[string]any) (paths fieldPaths, ok bool) {
	if isJSONMarshaler(obj) {
		return nil, false
	}
	for _, typed := range []string{"kind", "apiVersion"} {
		if _, ok := patch[typed]; ok {
			return nil, false
		}
	}
	ok = paths.add(obj, nil, patch)
	return paths, ok
}

func (p *fieldPaths) add(t reflect.Type, prefix []int, patch map[string]any) bool {
	for key, value := range patch {
		if strings.HasPrefix(key, "$") {
			return false
		}
		field, ok := jsonField(t, key)
		if !ok {
			return false
		}
		index := slices.Concat(prefix, field.Index)
		inner, isMap := value.(map[string]any)
		if !isMap || field.Type.Kind() != reflect.Struct || isJSONMarshaler(field.Type) {
			*p = append(*p, index)
			continue
		}
		if !p.add(field.Type, index, inner) {
			return false
		}
	}
	return true
}

// set makes the fields of dst those of src, and leaves the others alone. They share memory then.
func (p fieldPaths) set(dst, src runtime.Object) {
	to, from := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for _, index := range p {
		to.FieldByIndex(index).Set(from.FieldByIndex(index))
	}
}

// patchedPart is patched for a patch about some fields of before, which is shared. Ok is false when it has to go the
// whole way.
func patchedPart(p *patcher, before runtime.Object) (after runtime.Object, ok bool) {
	if p.fields == nil {
		return nil, false
	}
	paths, ok := mentioned(reflect.TypeOf(before).Elem(), p.fields)
	if !ok {
		return nil, false
	}
	part := emptyLike(before)
	part.GetObjectKind().SetGroupVersionKind(before.GetObjectKind().GroupVersionKind())
	paths.set(part, before)
	doc, err := json.Marshal(part)
	if err != nil {
		return nil, false
	}
	if doc, err = contained(p.apply, doc, before); err != nil {
		return nil, false
	}
	patched := emptyLike(before)
	if strict, err := kjson.UnmarshalStrict(doc, patched); err != nil || len(strict) > 0 {
		return nil, false
	}
	after = before.DeepCopyObject()
	paths.set(after, patched)
	return after, true
}
