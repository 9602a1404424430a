package registration

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// OneOf asks for one of some values, where there is one. Errors list the values in their order.
func OneOf[T ~string](path *field.Path, value *T, values ...T) field.ErrorList {
	if value == nil || slices.Contains(values, *value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, *value, values)}
}

// ValidateNamedRule tells what is wrong with a rule that may be about objects with some names only.
func ValidateNamedRule(r *admissionregistrationv1.NamedRuleWithOperations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range r.ResourceNames {
		at := path.Child("resourceNames").Index(i)
		for _, text := range content.IsPathSegmentName(name) {
			errs = append(errs, field.Invalid(at, name, text))
		}
		if slices.Contains(r.ResourceNames[:i], name) {
			errs = append(errs, field.Duplicate(at, name))
		}
	}
	return append(errs, ValidateRule(&r.RuleWithOperations, path)...)
}

// ValidateRule tells what is wrong with a rule.
func ValidateRule(r *admissionregistrationv1.RuleWithOperations, path *field.Path) field.ErrorList {
	errs := validateList(r.Operations, path.Child("operations"), "operations")
	for i := range r.Operations {
		errs = append(errs, OneOf(path.Child("operations").Index(i), &r.Operations[i], admissionregistrationv1.OperationAll,
			admissionregistrationv1.Connect, admissionregistrationv1.Create, admissionregistrationv1.Delete, admissionregistrationv1.Update)...)
	}
	errs = append(errs, validateList(r.APIGroups, path.Child("apiGroups"), "API groups")...)
	errs = append(errs, validateList(r.APIVersions, path.Child("apiVersions"), "API versions")...)
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(path.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, path.Child("resources"))...)
	return append(errs, OneOf(path.Child("scope"), r.Scope,
		admissionregistrationv1.AllScopes, admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope)...)
}

// validateList checks that something is listed, and nothing besides "*".
func validateList[T ~string](list []T, path *field.Path, what string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(path, list, "if '*' is present, must not specify other "+what)}
	}
	return nil
}

// validateResources checks patterns of resources and subresources, such as "pods", "pods/*" or "*/scale": none may be
// said twice.
func validateResources(list []string, path *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	allOf, ofAll := map[string]bool{}, map[string]bool{}
	// plain tells that the last pattern without a subresource is not "*"; those before it don't count in Kubernetes.
	plain := false
	for i, pattern := range list {
		resource, sub, hasSub := strings.Cut(pattern, "/")
		switch {
		case pattern == "":
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		case !hasSub:
			plain = pattern != "*"
			continue
		}
		if allOf[resource] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, pattern)))
		}
		if ofAll[sub] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, pattern)))
		}
		allOf[resource] = allOf[resource] || sub == "*"
		ofAll[sub] = ofAll[sub] || resource == "*"
	}
	if len(list) > 1 && slices.Contains(list, "*/*") {
		errs = append(errs, field.Invalid(path, list, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(list, "*") {
		errs = append(errs, field.Invalid(path, list, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
