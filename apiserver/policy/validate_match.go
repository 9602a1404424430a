package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Values that fields may have, in the order in which errors list them.
var (
	failurePolicies  = []string{string(admissionregistrationv1.Fail), string(admissionregistrationv1.Ignore)}
	matchPolicies    = []string{string(admissionregistrationv1.Equivalent), string(admissionregistrationv1.Exact)}
	operations       = []string{"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}
	mutateOperations = []string{"*", "CONNECT", "CREATE", "UPDATE"}
	scopes           = []string{"*", "Cluster", "Namespaced"}
)

// oneOf tells that a value is none of those that are known.
func oneOf[T ~string](path *field.Path, value T, known []string) field.ErrorList {
	if slices.Contains(known, string(value)) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, known)}
}

func validateFailurePolicy(p *admissionregistrationv1.FailurePolicyType, path *field.Path) field.ErrorList {
	if p == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	return oneOf(path, *p, failurePolicies)
}

func validateParamKind(k *admissionregistrationv1.ParamKind, path *field.Path) field.ErrorList {
	errs := validateAPIVersion(k.APIVersion, path.Child("apiVersion"))
	if k.Kind == "" {
		return append(errs, field.Required(path.Child("kind"), ""))
	}
	if texts := validation.IsDNS1035Label(strings.ToLower(k.Kind)); len(texts) > 0 {
		errs = append(errs, field.Invalid(path.Child("kind"), k.Kind, "may have mixed case, but should otherwise match: "+strings.Join(texts, ",")))
	}
	return errs
}

func validateAPIVersion(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	group, version, err := splitGroupVersion(text)
	if err != nil {
		return field.ErrorList{field.Invalid(path, text, err.Error())}
	}
	var errs field.ErrorList
	if group != "" {
		if texts := validation.IsDNS1123Subdomain(group); len(texts) > 0 {
			errs = append(errs, field.Invalid(path, group, strings.Join(texts, ",")))
		}
	}
	if version == "" {
		return append(errs, field.Invalid(path, text, "version must be specified"))
	}
	if texts := validation.IsDNS1035Label(version); len(texts) > 0 {
		errs = append(errs, field.Invalid(path, version, strings.Join(texts, ",")))
	}
	return errs
}

func splitGroupVersion(text string) (group, version string, err error) {
	if text == "/" {
		return "", "", nil
	}
	switch parts := strings.Split(text, "/"); len(parts) {
	case 1:
		return "", text, nil
	case 2:
		return parts[0], parts[1], nil
	}
	return "", "", errors.New("unexpected GroupVersion string: " + text)
}

func validateMatch(m *admissionregistrationv1.MatchResources, path *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(path.Child("matchPolicy"), ""))
	} else {
		errs = append(errs, oneOf(path.Child("matchPolicy"), *m.MatchPolicy, matchPolicies)...)
	}
	strict := metav1validation.LabelSelectorValidationOptions{}
	if m.NamespaceSelector == nil {
		errs = append(errs, field.Required(path.Child("namespaceSelector"), ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(m.NamespaceSelector, strict, path.Child("namespaceSelector"))...)
	}
	if m.ObjectSelector == nil {
		errs = append(errs, field.Required(path.Child("objectSelector"), ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(m.ObjectSelector, strict, path.Child("objectSelector"))...)
	}
	for i := range m.ResourceRules {
		errs = append(errs, validateRule(&m.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range m.ExcludeResourceRules {
		errs = append(errs, validateRule(&m.ExcludeResourceRules[i], path.Child("excludeResourceRules").Index(i))...)
	}
	return errs
}

func validateRule(r *admissionregistrationv1.NamedRuleWithOperations, path *field.Path) field.ErrorList {
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
	errs = append(errs, validateList(r.Operations, path.Child("operations"), "if '*' is present, must not specify other operations")...)
	for i, o := range r.Operations {
		errs = append(errs, oneOf(path.Child("operations").Index(i), o, operations)...)
	}
	errs = append(errs, validateList(r.APIGroups, path.Child("apiGroups"), "if '*' is present, must not specify other API groups")...)
	errs = append(errs, validateList(r.APIVersions, path.Child("apiVersions"), "if '*' is present, must not specify other API versions")...)
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(path.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, path.Child("resources"))...)
	if r.Scope != nil {
		errs = append(errs, oneOf(path.Child("scope"), *r.Scope, scopes)...)
	}
	return errs
}

// validateList checks that something is listed, and nothing besides "*".
func validateList[T ~string](list []T, path *field.Path, alone string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(path, list, alone)}
	}
	return nil
}

// validateResources checks patterns of resources and subresources, such as "pods", "pods/*" or "*/scale".
func validateResources(list []string, path *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	allOf, ofAll := map[string]bool{}, map[string]bool{}
	// plain tells that the last pattern without a subresource is not "*"; those before it don't count in Kubernetes.
	plain := false
	for i, pattern := range list {
		res, sub, hasSub := strings.Cut(pattern, "/")
		switch {
		case pattern == "":
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		case !hasSub:
			plain = pattern != "*"
			continue
		}
		if allOf[res] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '%s/*' is present, must not specify %s", res, pattern)))
		}
		if ofAll[sub] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, pattern)))
		}
		allOf[res] = allOf[res] || sub == "*"
		ofAll[sub] = ofAll[sub] || res == "*"
	}
	if len(list) > 1 && slices.Contains(list, "*/*") {
		errs = append(errs, field.Invalid(path, list, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(list, "*") {
		errs = append(errs, field.Invalid(path, list, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
