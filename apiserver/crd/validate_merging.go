package crd

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ofType wants a type for what only that type can have.
func ofType(s *schemaProps, want, why string, at *field.Path) field.ErrorList {
	switch s.Type {
	case want:
		return nil
	case "":
		return field.ErrorList{field.Required(at.Child("type"), why)}
	}
	return field.ErrorList{field.Invalid(at.Child("type"), s.Type, why)}
}

// merging returns what is wrong with how lists and maps are merged.
func (w *walker) merging(s *schemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.XMapType != nil {
		errs = append(errs, ofType(s, "object", "must be object if x-kubernetes-map-type is specified", at)...)
		if *s.XMapType != "atomic" && *s.XMapType != "granular" {
			errs = append(errs, field.NotSupported(at.Child("x-kubernetes-map-type"), *s.XMapType, []string{"atomic", "granular"}))
		}
	}
	listType := at.Child("x-kubernetes-list-type")
	if s.XListType != nil {
		if s.Type != "array" {
			errs = append(errs, ofType(s, "array", "must be array if x-kubernetes-list-type is specified", at)...)
		} else if w.o.atomicSets {
			errs = append(errs, setItems(s, at)...)
		}
		if types := []string{"atomic", "set", "map"}; !slices.Contains(types, *s.XListType) {
			errs = append(errs, field.NotSupported(listType, *s.XListType, types))
		}
	}
	if len(s.XListMapKeys) > 0 {
		const why = "must be map if x-kubernetes-list-map-keys is non-empty"
		if s.XListType == nil {
			errs = append(errs, field.Required(listType, why))
		} else if *s.XListType != "map" {
			errs = append(errs, field.Invalid(listType, *s.XListType, why))
		}
	}
	if s.XListType != nil && *s.XListType == "map" {
		errs = append(errs, listMap(s, at)...)
	}
	if w.o.mapKeys {
		errs = append(errs, listKeys(s, at)...)
	}
	return errs
}

// setItems wants the items of a set to be atomic.
func setItems(s *schemaProps, at *field.Path) field.ErrorList {
	if *s.XListType != "set" || s.Items == nil || s.Items.Schema == nil {
		return nil
	}
	const why = "must be atomic as item of a list with x-kubernetes-list-type=set"
	item, path := s.Items.Schema, at.Child("items")
	switch {
	case item.Type == "array" && item.XListType != nil && *item.XListType != "atomic":
		return field.ErrorList{field.Invalid(path.Child("x-kubernetes-list-type"), item.XListType, why)}
	case item.Type == "object" && (item.XMapType == nil || *item.XMapType != "atomic"):
		return field.ErrorList{field.Invalid(path.Child("x-kubernetes-map-type"), item.XListType, why)}
	}
	return nil
}

// listMap returns what is wrong with a list that is a map.
func listMap(s *schemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	keys, items := at.Child("x-kubernetes-list-map-keys"), at.Child("items")
	if len(s.XListMapKeys) == 0 {
		errs = append(errs, field.Required(keys, "must not be empty if x-kubernetes-list-type is map"))
	}
	switch {
	case s.Items == nil:
		return append(errs, field.Required(items, "must have a schema if x-kubernetes-list-type is map"))
	case s.Items.Schema == nil:
		return append(errs, field.Invalid(items, s.Items, "must only have a single schema if x-kubernetes-list-type is map"))
	case s.Items.Schema.Type != "object":
		return append(errs, field.Invalid(items.Child("type"), s.Items.Schema.Type, "must be object if parent array's x-kubernetes-list-type is map"))
	}
	for i, k := range s.XListMapKeys {
		if p, ok := s.Items.Schema.Properties[k]; !ok {
			errs = append(errs, field.Invalid(keys, s.XListMapKeys, "entries must all be names of item properties"))
		} else if p.Type == "array" || p.Type == "object" {
			errs = append(errs, field.Invalid(items.Child("properties").Key(k).Child("type"), s.Items.Schema.Type,
				"must be a scalar type if parent array's x-kubernetes-list-type is map"))
		}
		if slices.Contains(s.XListMapKeys[:i], k) {
			errs = append(errs, field.Invalid(keys, s.XListMapKeys, "must not contain duplicate entries"))
		}
	}
	return errs
}

// listKeys wants the keys of a list's items, and the items themselves, to be there.
func listKeys(s *schemaProps, at *field.Path) field.ErrorList {
	if s.Items == nil || s.Items.Schema == nil || s.XListType == nil || *s.XListType != "set" && *s.XListType != "map" {
		return nil
	}
	var errs field.ErrorList
	item, items := s.Items.Schema, at.Child("items")
	if item.Nullable {
		errs = append(errs, field.Forbidden(items.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is "+*s.XListType))
	}
	if *s.XListType != "map" {
		return errs
	}
	for _, k := range s.XListMapKeys {
		p, ok := item.Properties[k]
		if !ok {
			continue
		}
		if !slices.Contains(item.Required, k) && p.Default == nil {
			errs = append(errs, field.Required(items.Child("properties").Key(k).Child("default"),
				"this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"))
		}
		if p.Nullable {
			errs = append(errs, field.Forbidden(items.Child("properties").Key(k).Child("nullable"),
				"this property is in x-kubernetes-list-map-keys, so it cannot be nullable"))
		}
	}
	return errs
}
