package openapi

import (
	"reflect"
	"strings"
)

// fieldExtensions returns what a field's tags and the table of lists tell about merging it, or nil.
func fieldExtensions(f reflect.StructField, key string) *extensions {
	e := extensions{PatchMergeKey: f.Tag.Get("patchMergeKey"), PatchStrategy: f.Tag.Get("patchStrategy")}
	markers, marked := listMarkers[key]
	switch {
	case marked && f.Type.Kind() == reflect.Slice:
		kind, keys, _ := strings.Cut(markers, " ")
		e.ListType = kind
		if keys != "" {
			e.ListMapKeys = strings.Split(keys, ",")
		}
	case marked:
		e.MapType = markers
	case e.PatchMergeKey != "" && f.Type.Kind() == reflect.Slice:
		e.ListType, e.ListMapKeys = "map", []string{e.PatchMergeKey}
	case e.PatchStrategy == "merge" && f.Type.Kind() == reflect.Slice:
		e.ListType = "set"
	case f.Type.Kind() == reflect.Slice && !strings.HasSuffix(key, "List.items") && f.Type.Elem().Kind() != reflect.Uint8:
		e.ListType = "atomic"
	}
	if reflect.DeepEqual(e, extensions{}) {
		return nil
	}
	return &e
}
