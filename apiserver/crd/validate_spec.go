package crd

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type definitionSpec = apiextensions.CustomResourceDefinitionSpec

// validateSpec returns what is wrong with a definition's spec.
func validateSpec(spec *definitionSpec, o options, at *field.Path) field.ErrorList {
	errs := validateGroup(spec.Group, at.Child("group"))
	switch spec.Scope {
	case apiextensions.ClusterScoped, apiextensions.NamespaceScoped:
	case "":
		errs = append(errs, field.Required(at.Child("scope"), ""))
	default:
		errs = append(errs, field.NotSupported(at.Child("scope"), string(spec.Scope), []string{"Cluster", "Namespaced"}))
	}
	if !keepsUnknown(spec) || hasSchemaWith(spec, hasDefault) || hasSchemaWith(spec, hasExtensions) {
		o.structural = true
	}
	errs = append(errs, requireSchemas(spec, o, at)...)
	if keepsUnknown(spec) && hasSchemaWith(spec, hasDefault) {
		errs = append(errs, field.Invalid(at.Child("preserveUnknownFields"), true, "must be false in order to use defaults in the schema"))
	}
	errs = append(errs, validateVersions(spec, o, at.Child("versions"))...)
	if wrong := utilvalidation.IsDNS1035Label(spec.Version); spec.Version != "" && len(wrong) > 0 {
		errs = append(errs, field.Invalid(at.Child("version"), spec.Version, strings.Join(wrong, ",")))
	}
	for _, n := range []struct{ name, value string }{
		{"plural", spec.Names.Plural}, {"singular", spec.Names.Singular}, {"kind", spec.Names.Kind}, {"listKind", spec.Names.ListKind},
	} {
		if n.value == "" {
			errs = append(errs, field.Required(at.Child("names", n.name), ""))
		}
	}
	errs = append(errs, validateNames(&spec.Names, at.Child("names"))...)
	anyStatus := slices.ContainsFunc(spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool {
		return v.Subresources != nil && v.Subresources.Status != nil
	}) || spec.Subresources != nil && spec.Subresources.Status != nil
	errs = append(errs, validateSchema(spec.Validation, anyStatus, o.forVersion(spec.Version), at.Child("validation"))...)
	errs = append(errs, validateSubresources(spec.Subresources, at.Child("subresources"))...)
	errs = append(errs, validateColumns(spec.AdditionalPrinterColumns, at)...)
	errs = append(errs, validateSelectable(spec.SelectableFields, spec.Validation, o.tooManySelectable[""], "validations.schema is included", at)...)
	if c := spec.Conversion; c != nil && c.Strategy != apiextensions.NoneConverter && keepsUnknown(spec) {
		errs = append(errs, field.Invalid(at.Child("conversion", "strategy"), c.Strategy, "must be None if spec.preserveUnknownFields is true"))
	}
	return append(errs, validateConversion(spec.Conversion, o, at.Child("conversion"))...)
}

func validateGroup(group string, at *field.Path) field.ErrorList {
	if group == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if wrong := utilvalidation.IsDNS1123Subdomain(group); len(wrong) > 0 {
		return field.ErrorList{field.Invalid(at, group, strings.Join(wrong, ","))}
	}
	if !strings.Contains(group, ".") {
		return field.ErrorList{field.Invalid(at, group, "should be a domain with at least one dot")}
	}
	return nil
}

// requireSchemas wants a schema for all versions, or for those served.
func requireSchemas(spec *definitionSpec, o options, at *field.Path) field.ErrorList {
	if spec.Validation != nil && spec.Validation.OpenAPIV3Schema != nil || !o.schemas && keepsUnknown(spec) {
		return nil
	}
	var errs field.ErrorList
	for i, v := range spec.Versions {
		if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			continue
		}
		path := at.Child("versions").Index(i).Child("schema", "openAPIV3Schema")
		switch {
		case o.schemas:
			errs = append(errs, field.Required(path, ""))
		case v.Served:
			errs = append(errs, field.Required(path, "because otherwise all fields are pruned"))
		}
	}
	return errs
}

func validateVersions(spec *definitionSpec, o options, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	stored, seen, unique := 0, map[string]bool{}, true
	for i := range spec.Versions {
		v := &spec.Versions[i]
		if v.Storage {
			stored++
		}
		unique = unique && !seen[v.Name]
		seen[v.Name] = true
		if wrong := utilvalidation.IsDNS1035Label(v.Name); len(wrong) > 0 {
			errs = append(errs, field.Invalid(at.Index(i).Child("name"), v.Name, strings.Join(wrong, ",")))
		}
		errs = append(errs, validateVersion(spec, v, o, at.Index(i))...)
	}
	if !unique {
		errs = append(errs, field.Invalid(at, spec.Versions, "must contain unique version names"))
	}
	if stored != 1 {
		errs = append(errs, field.Invalid(at, spec.Versions, "must have exactly one version marked as storage version"))
	}
	return errs
}

func validateVersion(spec *definitionSpec, v *apiextensions.CustomResourceDefinitionVersion, o options, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, text := range validateDeprecation(v.Deprecated, v.DeprecationWarning) {
		errs = append(errs, field.Invalid(at.Child("deprecationWarning"), v.DeprecationWarning, text))
	}
	sub := v.Subresources
	if sub == nil {
		sub = spec.Subresources
	}
	errs = append(errs, validateSchema(v.Schema, sub != nil && sub.Status != nil, o.forVersion(v.Name), at.Child("schema"))...)
	errs = append(errs, validateSubresources(v.Subresources, at.Child("subresources"))...)
	errs = append(errs, validateColumns(v.AdditionalPrinterColumns, at)...)
	return append(errs, validateSelectable(v.SelectableFields, v.Schema, o.tooManySelectable[v.Name],
		"`version.schema.openAPIV3Schema` is not included", at)...)
}

func validateDeprecation(deprecated bool, warning *string) []string {
	switch {
	case warning == nil:
		return nil
	case !deprecated:
		return []string{"can only be set for deprecated versions"}
	}
	var out []string
	if len(*warning) > 256 {
		out = append(out, "must be <= 256 characters long")
	}
	if *warning == "" {
		out = append(out, "must not be an empty string")
	}
	for i, r := range *warning {
		if !unicode.IsPrint(r) {
			out = append(out, fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i))
			break
		}
	}
	return out
}

// validateNames returns what is wrong with names, as far as they are there.
func validateNames(names *apiextensions.CustomResourceDefinitionNames, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	label := func(path *field.Path, value, checked, intro string) {
		if wrong := utilvalidation.IsDNS1035Label(checked); len(wrong) > 0 {
			errs = append(errs, field.Invalid(path, value, intro+strings.Join(wrong, ",")))
		}
	}
	const mixed = "may have mixed case, but should otherwise match: "
	for _, n := range []struct{ name, value, intro string }{
		{"plural", names.Plural, ""}, {"singular", names.Singular, ""}, {"kind", names.Kind, mixed}, {"listKind", names.ListKind, mixed},
	} {
		checked := n.value
		if n.intro != "" {
			checked = strings.ToLower(checked)
		}
		if n.value != "" {
			label(at.Child(n.name), n.value, checked, n.intro)
		}
	}
	for i, name := range names.ShortNames {
		label(at.Child("shortNames").Index(i), name, name, "")
	}
	if names.Kind != "" && names.Kind == names.ListKind {
		errs = append(errs, field.Invalid(at.Child("listKind"), names.ListKind, "kind and listKind may not be the same"))
	}
	for i, name := range names.Categories {
		label(at.Child("categories").Index(i), name, name, "")
	}
	return errs
}

var (
	columnTypes   = []string{"boolean", "date", "integer", "number", "string"}
	columnFormats = []string{"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}
)

func validateColumns(columns []apiextensions.CustomResourceColumnDefinition, parent *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range columns {
		at := parent.Child("additionalPrinterColumns").Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		types := "must be one of " + strings.Join(columnTypes, ",")
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), types))
		} else if !slices.Contains(columnTypes, c.Type) {
			errs = append(errs, field.Invalid(at.Child("type"), c.Type, types))
		}
		if c.Format != "" && !slices.Contains(columnFormats, c.Format) {
			errs = append(errs, field.Invalid(at.Child("format"), c.Format, "must be one of "+strings.Join(columnFormats, ",")))
		}
		if c.JSONPath == "" {
			errs = append(errs, field.Required(at.Child("JSONPath"), ""))
		} else {
			errs = append(errs, validatePath(c.JSONPath, at.Child("JSONPath"))...)
		}
	}
	return errs
}

func validatePath(path string, at *field.Path) field.ErrorList {
	if strings.HasPrefix(path, ".") {
		return nil
	}
	return field.ErrorList{field.Invalid(at, path, "must be a simple json path starting with .")}
}

// maxSelectable bounds the fields of a version that selectors may name.
const maxSelectable = 8

// validateSelectable returns what is wrong with fields that selectors may name. Needed is what tells of a schema that is
// missing; many allows as many as there are.
func validateSelectable(fields []apiextensions.SelectableField, schema *apiextensions.CustomResourceValidation, many bool, needed string, parent *field.Path) field.ErrorList {
	at := parent.Child("selectableFields")
	if len(fields) == 0 {
		return nil
	}
	if schema == nil || schema.OpenAPIV3Schema == nil {
		return field.ErrorList{field.Invalid(at, "", "may only be set when "+needed)}
	}
	var errs field.ErrorList
	s, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
	if err != nil {
		errs = append(errs, field.Invalid(parent.Child("schema.openAPIV3Schema"), "", err.Error()))
	}
	seen := map[string]bool{}
	for i, f := range fields {
		errs = append(errs, validateSelectableField(f.JSONPath, s, seen, at.Index(i).Child("jsonPath"))...)
	}
	if len(seen) > maxSelectable && !many {
		errs = append(errs, field.TooMany(at, len(seen), maxSelectable))
	}
	return errs
}

func validateSelectableField(path string, s *structuralschema.Structural, seen map[string]bool, at *field.Path) field.ErrorList {
	if path == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if s == nil {
		return nil // where kube-apiserver panics
	}
	found, schema, err := cel.ValidFieldPath(path, s, cel.WithFieldPathAllowArrayNotation(false))
	if err != nil {
		return field.ErrorList{field.Invalid(at, path, fmt.Sprintf("is an invalid path: %v", err))}
	}
	var errs field.ErrorList
	if found.Root().String() == "metadata" {
		errs = append(errs, field.Invalid(at, path, "must not point to fields in metadata"))
	}
	if schema == nil || !slices.Contains([]string{"string", "boolean", "integer"}, schema.Type) {
		errs = append(errs, field.Invalid(at, path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
	}
	if seen[found.String()] {
		errs = append(errs, field.Duplicate(at, path))
	}
	seen[found.String()] = true
	return errs
}

func validateSubresources(sub *apiextensions.CustomResourceSubresources, at *field.Path) field.ErrorList {
	if sub == nil || sub.Scale == nil {
		return nil
	}
	var errs field.ErrorList
	below := func(name, path string, value any, where string, prefixes ...string) {
		p := at.Child("scale." + name)
		if wrong := validatePath(path, p); len(wrong) > 0 {
			errs = append(errs, wrong...)
		} else if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
			errs = append(errs, field.Invalid(p, value, "should be a json path under "+where))
		}
	}
	for _, p := range []struct{ name, path, parent string }{
		{"specReplicasPath", sub.Scale.SpecReplicasPath, ".spec"}, {"statusReplicasPath", sub.Scale.StatusReplicasPath, ".status"},
	} {
		if p.path == "" {
			errs = append(errs, field.Required(at.Child("scale."+p.name), ""))
		} else {
			below(p.name, p.path, p.path, p.parent, p.parent+".")
		}
	}
	if path := sub.Scale.LabelSelectorPath; path != nil && *path != "" {
		below("labelSelectorPath", *path, path, "either .spec or .status", ".spec.", ".status.")
	}
	return errs
}
