package apiserver

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/inboard/inboard/apiserver/client"
)

// scalarField returns the function that reads a field of a Go type of the API by its path in JSON, such as
// "spec.priority" or "metadata.annotations.owner"; nil when there is no such field, or it is a list or a struct. What
// follows the name of a map is a key, dots and all. A field that is not there reads "".
func scalarField(t reflect.Type, path string) func(client.Object) string {
	steps, read := fieldSteps(t.Elem(), path)
	if read == nil {
		return nil
	}
	return func(obj client.Object) string {
		v := reflect.ValueOf(obj).Elem()
		for _, step := range steps {
			if v = step(v); !v.IsValid() {
				return ""
			}
		}
		return read(v)
	}
}

// fieldStep leads from a value to one in it, or to the zero Value.
type fieldStep func(reflect.Value) reflect.Value

func fieldSteps(t reflect.Type, path string) (steps []fieldStep, read func(reflect.Value) string) {
	for path != "" {
		if t.Kind() == reflect.Pointer {
			steps, t = append(steps, dereference), t.Elem()
			continue
		}
		if t.Kind() == reflect.Map && t.Key().Kind() == reflect.String {
			key := reflect.ValueOf(path).Convert(t.Key())
			steps, t = append(steps, func(v reflect.Value) reflect.Value { return v.MapIndex(key) }), t.Elem()
			break
		}
		name, rest, _ := strings.Cut(path, ".")
		field, ok := jsonField(t, name)
		if !ok {
			return nil, nil
		}
		index := field.Index
		steps, t, path = append(steps, func(v reflect.Value) reflect.Value { return v.FieldByIndex(index) }), field.Type, rest
	}
	for t.Kind() == reflect.Pointer {
		steps, t = append(steps, dereference), t.Elem()
	}
	return steps, scalarReader(t)
}

func dereference(v reflect.Value) reflect.Value {
	if v.IsNil() {
		return reflect.Value{}
	}
	return v.Elem()
}

// jsonField finds the field of a struct that has a name in JSON, in it or in an inlined struct.
func jsonField(t reflect.Type, name string) (reflect.StructField, bool) {
	if t.Kind() != reflect.Struct || isJSONMarshaler(t) {
		return reflect.StructField{}, false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || tag == "-":
		case tag == name && name != "":
			return f, true
		case tag == "" && f.Anonymous && f.Type.Kind() == reflect.Struct && strings.Contains(options, "inline"):
			if in, ok := jsonField(f.Type, name); ok {
				in.Index = append([]int{i}, in.Index...)
				return in, true
			}
		}
	}
	return reflect.StructField{}, false
}

// scalarReader returns the function that gives a scalar as the text that a selector compares with; nil for types
// that are no scalars.
func scalarReader(t reflect.Type) func(reflect.Value) string {
	if isJSONMarshaler(t) {
		switch t.Kind() {
		case reflect.Struct: // times, quantities, numbers or strings: known by what they write
			return marshaledScalar
		default:
			return nil
		}
	}
	switch t.Kind() {
	case reflect.String:
		return reflect.Value.String
	case reflect.Bool:
		return func(v reflect.Value) string { return strconv.FormatBool(v.Bool()) }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(v reflect.Value) string { return strconv.FormatUint(v.Uint(), 10) }
	}
	return nil
}

func isJSONMarshaler(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]())
}

// marshaledScalar is the text of a value that writes itself as JSON, without quotes; "" for null and for what is no
// scalar.
func marshaledScalar(v reflect.Value) string {
	addressable := reflect.New(v.Type())
	addressable.Elem().Set(v)
	b, err := json.Marshal(addressable.Interface())
	if err != nil || len(b) == 0 || b[0] == '{' || b[0] == '[' || b[0] == 'n' {
		return ""
	}
	if b[0] != '"' {
		return string(b)
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}
