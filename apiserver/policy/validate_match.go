package policy

import (
	"errors"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/internal/registration"
)

func validateFailurePolicy(p *admissionregistrationv1.FailurePolicyType, path *field.Path) field.ErrorList {
	if p == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	return registration.OneOf(path, p, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)
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
		errs = append(errs, registration.OneOf(path.Child("matchPolicy"), m.MatchPolicy, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)...)
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
		errs = append(errs, registration.ValidateNamedRule(&m.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range m.ExcludeResourceRules {
		errs = append(errs, registration.ValidateNamedRule(&m.ExcludeResourceRules[i], path.Child("excludeResourceRules").Index(i))...)
	}
	return errs
}
