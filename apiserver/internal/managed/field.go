package managed

import (
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// fieldReader reads a field of a struct as the library does, which looks up the way to it and what may be left out
// anew each time.
type fieldReader struct {
	entry *value.FieldCacheEntry
	// index leads to the field; nil leaves reading it to the library.
	index     []int
	omitEmpty bool
}

func newFieldReader(t reflect.Type, entry *value.FieldCacheEntry) fieldReader {
	r := fieldReader{entry: entry}
	index, options, ok := findField(t, entry.JsonName)
	if ok && !slices.Contains(options, "omitzero") {
		r.index, r.omitEmpty = index, slices.Contains(options, "omitempty")
	}
	return r
}

// findField returns where the field with a name in JSON is, in the struct or one that is inlined in it, and the
// options of its tag. Ok is false when there are several, or the way leads through pointers.
func findField(t reflect.Type, name string) (index []int, options []string, ok bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("json"), ",")
		inline := f.Anonymous && tag[0] == "" || slices.Contains(tag[1:], "inline")
		at, found := []int{i}, tag[1:]
		switch {
		case inline && f.Type.Kind() == reflect.Struct:
			inner, opts, in := findField(f.Type, name)
			if !in {
				continue
			}
			at, found = append(at, inner...), opts
		case inline || tag[0] == "" || tag[0] != name:
			continue
		}
		if ok {
			return nil, nil, false
		}
		index, options, ok = at, found, true
	}
	return index, options, ok
}

// of returns the field of a struct.
func (r *fieldReader) of(v reflect.Value) reflect.Value {
	if r.index == nil {
		return r.entry.GetFrom(v)
	}
	for _, i := range r.index {
		v = v.Field(i)
	}
	return v
}

// omits tells that a value of the field is not in the JSON.
func (r *fieldReader) omits(v reflect.Value) bool {
	if r.index == nil {
		return r.entry.CanOmit(v)
	}
	if !r.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() == 0
	case reflect.Pointer, reflect.Interface:
		return v.IsNil()
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
