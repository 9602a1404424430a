package crd

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type schemaProps = apiextensions.JSONSchemaProps

// validateSchema returns what is wrong with a schema.
func validateSchema(v *apiextensions.CustomResourceValidation, hasStatus bool, o options, at *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	schema, path := v.OpenAPIV3Schema, at.Child("openAPIV3Schema")
	var errs field.ErrorList
	if schema != nil {
		if hasStatus {
			errs = append(errs, validateRoot(schema, at)...)
		}
		if schema.Nullable {
			errs = append(errs, field.Forbidden(at.Child("openAPIV3Schema.nullable"), "nullable cannot be true at the root"))
		}
		structural, wrong, fallback := validateStructural(schema, o, path)
		errs = append(errs, wrong...)
		w := &walker{o: o, defaults: true}
		if structural {
			w.rules = newRuleScope(schema)
		}
		found := w.walk(schema, path, true)
		errs = append(append(errs, found.schema...), found.rules...)
		if len(errs) == 0 {
			errs = append(errs, fallback...)
		}
		errs = append(errs, w.rules.overBudget(path)...)
	}
	if len(errs) == 0 {
		if _, _, err := apiservervalidation.NewSchemaValidator(schema); err != nil {
			errs = append(errs, field.Invalid(at, "", fmt.Sprintf("error building validator: %v", err)))
		}
	}
	return errs
}

// validateStructural tells whether a schema is structural with valid defaults, as CEL rules need it. Fallback is told
// when nothing else is wrong.
func validateStructural(schema *schemaProps, o options, at *field.Path) (ok bool, errs, fallback field.ErrorList) {
	if !o.structural {
		return false, nil, nil
	}
	s, err := structuralschema.NewStructural(schema)
	if err != nil {
		return false, nil, field.ErrorList{field.Invalid(at, "", err.Error())}
	}
	if errs := structuralschema.ValidateStructural(at, s); len(errs) > 0 {
		return false, errs, nil
	}
	errs, err = defaulting.ValidateDefaults(context.Background(), at, s, true, o.prunedDefaults)
	if err != nil {
		errs = field.ErrorList{field.Invalid(at, "", err.Error())}
	}
	return len(errs) == 0, errs, nil
}

// rootFields are what a schema may have at its root if status is validated apart from the rest.
var rootFields = []string{"Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum",
	"MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
	"ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations"}

func validateRoot(schema *schemaProps, at *field.Path) field.ErrorList {
	v := reflect.ValueOf(schema).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch {
		case v.Field(i).IsZero():
		case name == "Type" && schema.Type != "object":
			return field.ErrorList{field.Invalid(at.Child("openAPIV3Schema.type"), schema.Type,
				`only "object" is allowed as the type at the root of the schema if the status subresource is enabled`)}
		case !slices.Contains(rootFields, name):
			return field.ErrorList{field.Invalid(at.Child("openAPIV3Schema"), *schema,
				fmt.Sprintf(`only %v fields are allowed at the root of the schema if the status subresource is enabled`, rootFields))}
		}
	}
	return nil
}

// walker looks at a schema and all below it.
type walker struct {
	o options
	// defaults tells that defaults are allowed, noDefaults why not.
	defaults   bool
	noDefaults string
	// inMeta tells that the schema is about metadata.
	inMeta bool
	// uncorrelated is the first schema above whose parts can't be told apart in an old and a new object.
	uncorrelated *field.Path
	rules        *ruleScope
}

// schemaErrors keep what is wrong with rules apart: they are only looked at where the schema is right.
type schemaErrors struct{ schema, rules field.ErrorList }

func (e *schemaErrors) add(other schemaErrors) {
	e.schema, e.rules = append(e.schema, other.schema...), append(e.rules, other.rules...)
}

func (w *walker) forbidDefaults(why string) *walker {
	c := *w
	c.defaults, c.noDefaults = false, why
	return &c
}

func (w *walker) uncorrelatedAt(at *field.Path) *walker {
	if w.uncorrelated != nil {
		return w
	}
	c := *w
	c.uncorrelated = at
	return &c
}

// with returns the walker for a schema below.
func (w *walker) with(rules *ruleScope) *walker {
	c := *w
	c.rules = rules
	return &c
}

func (w *walker) walk(s *schemaProps, at *field.Path, root bool) schemaErrors {
	var out schemaErrors
	if s == nil {
		return out
	}
	out.schema = append(w.supported(s, at), w.additional(s, at, &out)...)
	w.properties(s, at, root, &out)
	w.alternatives(s, at, &out)
	w.items(s, at, &out)
	if keep := s.XPreserveUnknownFields; keep != nil && !*keep {
		out.schema = append(out.schema, field.Invalid(at.Child("x-kubernetes-preserve-unknown-fields"), *keep, "must be true or undefined"))
	}
	out.schema = append(out.schema, w.merging(s, at)...)
	out.schema = append(out.schema, validateRules(s, at.Child("x-kubernetes-validations"))...)
	if len(s.XValidations) > 0 && len(out.schema) == 0 && w.rules != nil {
		out.rules = append(out.rules, w.compile(s, at.Child("x-kubernetes-validations"))...)
	}
	return out
}

var schemaTypes = []string{"array", "boolean", "integer", "number", "object", "string"}

// supported returns what OpenAPI has, and custom resources have not.
func (w *walker) supported(s *schemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if w.o.types && s.Type != "" && !slices.Contains(schemaTypes, s.Type) {
		errs = append(errs, field.NotSupported(at.Child("type"), s.Type, schemaTypes))
	}
	if s.Default != nil && !w.defaults {
		errs = append(errs, field.Forbidden(at.Child("default"), strings.TrimSpace("must not be set "+w.noDefaults)))
	}
	forbid := func(wrong bool, name, text string) {
		if wrong {
			errs = append(errs, field.Forbidden(at.Child(name), text))
		}
	}
	forbid(s.ID != "", "id", "id is not supported")
	forbid(s.AdditionalItems != nil, "additionalItems", "additionalItems is not supported")
	forbid(len(s.PatternProperties) != 0, "patternProperties", "patternProperties is not supported")
	forbid(len(s.Definitions) != 0, "definitions", "definitions is not supported")
	forbid(s.Dependencies != nil, "dependencies", "dependencies is not supported")
	forbid(s.Ref != nil, "$ref", "$ref is not supported")
	forbid(s.Type == "null", "type", "type cannot be set to null, use nullable as an alternative")
	forbid(s.Items != nil && len(s.Items.JSONSchemas) != 0, "items", "items must be a schema object and not an array")
	forbid(w.inMeta && s.XEmbeddedResource, "x-kubernetes-embedded-resource", "must not be used inside of resource meta")
	forbid(s.UniqueItems, "uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
	return errs
}

func (w *walker) additional(s *schemaProps, at *field.Path, out *schemaErrors) (errs field.ErrorList) {
	more := s.AdditionalProperties
	if more == nil {
		return nil
	}
	if len(s.Properties) != 0 && (!more.Allows || more.Schema != nil) {
		errs = append(errs, field.Forbidden(at.Child("additionalProperties"), "additionalProperties and properties are mutual exclusive"))
	}
	below := w
	if w.inMeta {
		below = w.forbidDefaults("inside additionalProperties applying to object metadata")
	}
	found := below.with(w.rules.child(s, more.Schema)).walk(more.Schema, at.Child("additionalProperties"), false)
	out.rules = append(out.rules, found.rules...)
	return append(errs, found.schema...)
}

func (w *walker) properties(s *schemaProps, at *field.Path, root bool, out *schemaErrors) {
	for _, name := range sortedKeys(s.Properties) {
		below := *w
		if !cel.MapIsCorrelatable(s.XMapType) {
			below = *below.uncorrelatedAt(at)
		}
		if (root || s.XEmbeddedResource) && slices.Contains([]string{"metadata", "kind", "apiVersion"}, name) {
			below.inMeta = true
			if root {
				below = *below.forbidDefaults("in top-level " + name)
			}
		}
		p := s.Properties[name]
		out.add(below.with(w.rules.child(s, &p)).walk(&p, at.Child("properties").Key(name), false))
	}
}

func (w *walker) alternatives(s *schemaProps, at *field.Path, out *schemaErrors) {
	below := w.with(nil)
	out.add(below.walk(s.Not, at.Child("not"), false))
	for _, list := range []struct {
		name string
		all  []schemaProps
	}{{"allOf", s.AllOf}, {"oneOf", s.OneOf}, {"anyOf", s.AnyOf}} {
		for i := range list.all {
			out.add(below.walk(&list.all[i], at.Child(list.name).Index(i), false))
		}
	}
	for _, name := range sortedKeys(s.Definitions) {
		d := s.Definitions[name]
		out.add(below.walk(&d, at.Child("definitions").Key(name), false))
	}
	for _, name := range sortedKeys(s.Dependencies) {
		out.add(below.walk(s.Dependencies[name].Schema, at.Child("dependencies").Key(name), false))
	}
}

func (w *walker) items(s *schemaProps, at *field.Path, out *schemaErrors) {
	if s.Items == nil {
		return
	}
	below := w
	if s.XListType == nil || *s.XListType != "map" {
		below = w.uncorrelatedAt(at)
	}
	out.add(below.with(w.rules.child(s, s.Items.Schema)).walk(s.Items.Schema, at.Child("items"), false))
	for i := range s.Items.JSONSchemas {
		one := &s.Items.JSONSchemas[i]
		out.add(below.with(w.rules.child(s, one)).walk(one, at.Child("items").Index(i), false))
	}
}
