package crd

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/inboard/inboard/apiserver/client"
)

// options tell what is asked of a definition. What its old state did not fulfil is not asked.
type options struct {
	// schemas wants a schema in each version, types those of OpenAPI, structural schemas that are.
	schemas, types, structural bool
	// prunedDefaults wants defaults without unknown fields.
	prunedDefaults bool
	// atomicSets and mapKeys are about the items of lists.
	atomicSets, mapKeys bool
	// knownReview wants a version of reviews that servers understand.
	knownReview bool
	// anyCABundle and anyCost allow what would be refused otherwise.
	anyCABundle, anyCost bool
	// tooManySelectable are versions whose selectable fields were too many before.
	tooManySelectable map[string]bool
	known             known
	// unchanged are versions with the schema that they had.
	unchanged map[string]bool
}

// forVersion allows the rules of a schema that stays as it was to cost what they do.
func (o options) forVersion(name string) options {
	o.anyCost = o.unchanged[name]
	return o
}

func newOptions(crd, was *apiextensions.CustomResourceDefinition) options {
	if was == nil {
		return options{schemas: true, types: true, structural: true, prunedDefaults: true, atomicSets: true, mapKeys: true,
			knownReview: true, anyCABundle: true}
	}
	old := &was.Spec
	has := func(pred func(*schemaProps) bool) bool { return hasSchemaWith(old, pred) }
	o := options{
		schemas: allHaveSchemas(old), types: !has(hasInvalidTypes), structural: !has(notStructural), prunedDefaults: !has(hasUnprunedDefaults),
		atomicSets: !has(func(s *schemaProps) bool { return anySchema(s, hasNonAtomicSet) }),
		mapKeys: !has(func(s *schemaProps) bool {
			return anySchema(s, func(s *schemaProps) bool { return len(listKeys(s, nil)) > 0 })
		}),
		anyCABundle: allowsAnyCABundle(was), known: knownIn(old), unchanged: map[string]bool{}, tooManySelectable: map[string]bool{},
		knownReview: old.Conversion == nil || len(old.Conversion.ConversionReviewVersions) == 0 || understood(old.Conversion.ConversionReviewVersions),
	}
	for _, v := range crd.Spec.Versions {
		a, errA := apiextensions.GetSchemaForVersion(crd, v.Name)
		b, errB := apiextensions.GetSchemaForVersion(was, v.Name)
		o.unchanged[v.Name] = errA == nil && errB == nil && apiequality.Semantic.DeepEqual(a, b)
		for _, before := range old.Versions {
			if before.Name == v.Name && len(before.SelectableFields) > maxSelectable && apiequality.Semantic.DeepEqual(v.SelectableFields, before.SelectableFields) {
				o.tooManySelectable[v.Name] = true
			}
		}
	}
	if len(old.SelectableFields) > maxSelectable && apiequality.Semantic.DeepEqual(crd.Spec.SelectableFields, old.SelectableFields) {
		o.tooManySelectable[""] = true
	}
	return o
}

func allHaveSchemas(spec *definitionSpec) bool {
	return spec.Validation != nil && spec.Validation.OpenAPIV3Schema != nil ||
		!slices.ContainsFunc(spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool {
			return v.Schema == nil || v.Schema.OpenAPIV3Schema == nil
		})
}

func allowsAnyCABundle(was *apiextensions.CustomResourceDefinition) bool {
	if !apiextensions.IsCRDConditionTrue(was, apiextensions.Established) {
		return true
	}
	conv := was.Spec.Conversion
	return conv != nil && conv.WebhookClientConfig != nil && len(validateCABundle(field.NewPath("caBundle"), conv.WebhookClientConfig.CABundle)) > 0
}

func knownIn(spec *definitionSpec) known {
	k := known{map[string]bool{}, map[string]bool{}}
	hasSchemaWith(spec, func(s *schemaProps) bool {
		return anySchema(s, func(s *schemaProps) bool {
			for _, v := range s.XValidations {
				k.rules[v.Rule] = true
				if v.MessageExpression != "" {
					k.messages[v.MessageExpression] = true
				}
			}
			return false
		})
	})
	return k
}

// hasSchemaWith tells whether pred is true of one of a definition's schemas.
func hasSchemaWith(spec *definitionSpec, pred func(*schemaProps) bool) bool {
	if spec.Validation != nil && spec.Validation.OpenAPIV3Schema != nil && pred(spec.Validation.OpenAPIV3Schema) {
		return true
	}
	return slices.ContainsFunc(spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool {
		return v.Schema != nil && v.Schema.OpenAPIV3Schema != nil && pred(v.Schema.OpenAPIV3Schema)
	})
}

// anySchema tells whether pred is true of a schema or one below it.
func anySchema(s *schemaProps, pred func(*schemaProps) bool) bool {
	if s == nil {
		return false
	}
	if pred(s) {
		return true
	}
	for _, one := range below(s) {
		if anySchema(one, pred) {
			return true
		}
	}
	return false
}

// below returns the schemas right below one.
func below(s *schemaProps) []*schemaProps {
	var out []*schemaProps
	list := func(all []schemaProps) {
		for i := range all {
			out = append(out, &all[i])
		}
	}
	byName := func(all map[string]schemaProps) {
		for _, name := range sortedKeys(all) {
			one := all[name]
			out = append(out, &one)
		}
	}
	if s.Items != nil {
		out = append(out, s.Items.Schema)
		list(s.Items.JSONSchemas)
	}
	list(s.AllOf)
	list(s.AnyOf)
	list(s.OneOf)
	out = append(out, s.Not)
	byName(s.Properties)
	if s.AdditionalProperties != nil {
		out = append(out, s.AdditionalProperties.Schema)
	}
	byName(s.PatternProperties)
	if s.AdditionalItems != nil {
		out = append(out, s.AdditionalItems.Schema)
	}
	byName(s.Definitions)
	for _, name := range sortedKeys(s.Dependencies) {
		out = append(out, s.Dependencies[name].Schema)
	}
	return out
}

func hasDefault(s *schemaProps) bool {
	return anySchema(s, func(s *schemaProps) bool { return s.Default != nil })
}

func hasExtensions(s *schemaProps) bool {
	return anySchema(s, func(s *schemaProps) bool {
		return s.XEmbeddedResource || s.XPreserveUnknownFields != nil || s.XIntOrString || len(s.XListMapKeys) > 0 || s.XListType != nil || len(s.XValidations) > 0
	})
}

func hasInvalidTypes(s *schemaProps) bool {
	return anySchema(s, func(s *schemaProps) bool { return s.Type != "" && !slices.Contains(schemaTypes, s.Type) })
}

func notStructural(s *schemaProps) bool {
	structural, err := structuralschema.NewStructural(s)
	return err != nil || len(structuralschema.ValidateStructural(nil, structural)) > 0
}

func hasUnprunedDefaults(s *schemaProps) bool {
	structural, err := structuralschema.NewStructural(s)
	if err != nil {
		return false
	}
	pruned := structural.DeepCopy()
	return defaulting.PruneDefaults(pruned) == nil && !reflect.DeepEqual(structural, pruned)
}

func hasNonAtomicSet(s *schemaProps) bool {
	return s.XListType != nil && len(setItems(s, nil)) > 0
}

// definitionWarnings warns of formats that nobody knows and of sets that others can't handle, if they are new.
func definitionWarnings(obj, old client.Object) []string {
	out := warningsOf(obj)
	if old == nil {
		return out
	}
	before := warningsOf(old)
	return slices.DeleteFunc(out, func(w string) bool { return slices.Contains(before, w) })
}

func warningsOf(obj client.Object) []string {
	crd, err := internal(obj.(*apiextensionsv1.CustomResourceDefinition))
	if err != nil {
		return nil
	}
	var formats, sets []string
	look := func(s *schemaProps) bool {
		if s.Format != "" {
			plain := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Type: spec.StringOrArray{s.Type}}}
			for _, f := range apiservervalidation.GetUnrecognizedFormats(plain, environment.DefaultCompatibilityVersion()) {
				formats = append(formats, fmt.Sprintf("unrecognized format %q", f))
			}
		}
		if s.XListType != nil && *s.XListType == "set" && s.Items != nil && s.Items.Schema != nil && (s.Items.Schema.Type == "object" || s.Items.Schema.Type == "array") {
			sets = append(sets, fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", s.Items.Schema.Type))
		}
		return false
	}
	hasSchemaWith(&crd.Spec, func(s *schemaProps) bool { return anySchema(s, look) })
	slices.Sort(sets)
	return append(formats, slices.Compact(sets)...)
}
