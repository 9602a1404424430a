package policy

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/util/jsonpath"

	"github.com/inboard/inboard/apiserver/internal/registration"
)

func validateValidatingBinding(b, _ *validatingBinding) field.ErrorList {
	name, actions := specPath.Child("policyName"), specPath.Child("validationActions")
	var errs field.ErrorList
	if b.Spec.PolicyName != "" {
		errs = validatePolicyName(b.Spec.PolicyName, name)
	}
	errs = append(errs, validateParamRef(b.Spec.ParamRef, specPath.Child("paramRef"))...)
	errs = append(errs, validateMatch(b.Spec.MatchResources, specPath.Child("matchResources"))...)
	errs = append(errs, validateActions(b.Spec.ValidationActions, actions)...)
	// What Kubernetes declares in its types comes last.
	if b.Spec.PolicyName == "" {
		errs = append(errs, field.Required(name, ""))
	}
	if len(b.Spec.ValidationActions) == 0 {
		errs = append(errs, field.Required(actions, ""))
	}
	return errs
}

func validateMutatingBinding(b, _ *mutatingBinding) field.ErrorList {
	errs := validatePolicyName(b.Spec.PolicyName, specPath.Child("policyName"))
	errs = append(errs, validateParamRef(b.Spec.ParamRef, specPath.Child("paramRef"))...)
	errs = append(errs, validateMatch(b.Spec.MatchResources, specPath.Child("matchResources"))...)
	return append(errs, validateMutable(b.Spec.MatchResources, specPath.Child("matchResources"))...)
}

func validatePolicyName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, text := range validation.NameIsDNSSubdomain(name, false) {
		errs = append(errs, field.Invalid(path, name, text))
	}
	return errs
}

func validateParamRef(r *admissionregistrationv1.ParamRef, path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	const exclusive = "name and selector are mutually exclusive"
	if r.Name != "" {
		for _, text := range content.IsPathSegmentName(r.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), r.Name, text))
		}
		if r.Selector != nil {
			errs = append(errs, field.Forbidden(path.Child("name"), exclusive))
		}
	}
	if r.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(r.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
		if r.Name != "" {
			errs = append(errs, field.Forbidden(path.Child("selector"), exclusive))
		}
	}
	if r.Name == "" && r.Selector == nil {
		errs = append(errs, field.Required(path, "one of name or selector must be specified"))
	}
	at := path.Child("parameterNotFoundAction")
	if r.ParameterNotFoundAction == nil || *r.ParameterNotFoundAction == "" {
		return append(errs, field.Required(at, ""))
	}
	return append(errs, registration.OneOf(at, r.ParameterNotFoundAction, admissionregistrationv1.DenyAction, admissionregistrationv1.AllowAction)...)
}

func validateActions(list []admissionregistrationv1.ValidationAction, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, a := range list {
		errs = append(errs, registration.OneOf(path.Index(i), &a, admissionregistrationv1.Audit, admissionregistrationv1.Deny, admissionregistrationv1.Warn)...)
		if slices.Contains(list[:i], a) {
			errs = append(errs, field.Duplicate(path.Index(i), a))
		}
	}
	if slices.Contains(list, admissionregistrationv1.Deny) && slices.Contains(list, admissionregistrationv1.Warn) {
		errs = append(errs, field.Invalid(path, list,
			"must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	return errs
}

func validateStatus(s *admissionregistrationv1.ValidatingAdmissionPolicyStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.TypeChecking != nil {
		for i, w := range s.TypeChecking.ExpressionWarnings {
			at := path.Child("typeChecking", "expressionWarnings").Index(i)
			if w.Warning == "" {
				errs = append(errs, field.Required(at.Child("warning"), ""))
			}
			errs = append(errs, validateFieldRef(strings.TrimSpace(w.FieldRef), at.Child("fieldRef"))...)
		}
	}
	return append(errs, metav1validation.ValidateConditions(s.Conditions, path.Child("conditions"))...)
}

func validateFieldRef(ref string, path *field.Path) field.ErrorList {
	if ref == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if err := jsonpath.New("spec").Parse(fmt.Sprintf("{%s}", ref)); err != nil {
		return field.ErrorList{field.Invalid(path, ref, fmt.Sprintf("invalid JSONPath: %v", err))}
	}
	return nil
}
