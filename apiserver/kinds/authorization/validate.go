package authorization

import (
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func validateSubjectAccess(o, _ *authorizationv1.SubjectAccessReview) field.ErrorList {
	var l check.List
	subjectSpec(&l, &o.Spec)
	noMetadata(&l, o.ObjectMeta, "must be empty")
	return l.Errors()
}

func validateSelfSubjectAccess(o, _ *authorizationv1.SelfSubjectAccessReview) field.ErrorList {
	var l check.List
	oneOf(&l, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	selectors(&l, o.Spec.ResourceAttributes)
	noMetadata(&l, o.ObjectMeta, "must be empty")
	return l.Errors()
}

func validateLocalSubjectAccess(o, _ *authorizationv1.LocalSubjectAccessReview) field.ErrorList {
	var l check.List
	subjectSpec(&l, &o.Spec)
	meta := o.ObjectMeta
	meta.Namespace = ""
	noMetadata(&l, meta, "must be empty except for namespace")
	if r := o.Spec.ResourceAttributes; r != nil && r.Namespace != o.Namespace {
		l.Invalid(field.NewPath("spec.resourceAttributes.namespace"), r.Namespace, "must match metadata.namespace")
	}
	if o.Spec.NonResourceAttributes != nil {
		l.Invalid(field.NewPath("spec.nonResourceAttributes"), o.Spec.NonResourceAttributes, "disallowed on this kind of request")
	}
	return l.Errors()
}

func subjectSpec(l *check.List, s *authorizationv1.SubjectAccessReviewSpec) {
	oneOf(l, s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		l.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified")
	}
	selectors(l, s.ResourceAttributes)
}

func oneOf(l *check.List, resource *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) {
	if (resource == nil) == (path == nil) {
		l.Invalid(field.NewPath("spec"), path, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
	}
}

func noMetadata(l *check.List, meta metav1.ObjectMeta, text string) {
	full := meta
	meta.ManagedFields = nil
	if !apiequality.Semantic.DeepEqual(metav1.ObjectMeta{}, meta) {
		l.Invalid(field.NewPath("metadata"), full, text)
	}
}

func selectors(l *check.List, r *authorizationv1.ResourceAttributes) {
	if r == nil {
		return
	}
	if s := r.FieldSelector; s != nil {
		p := field.NewPath("spec.resourceAttributes").Child("fieldSelector")
		rawOrParsed(l, p, s.RawSelector, len(s.Requirements))
		for i, req := range s.Requirements {
			opts := metavalidation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			l.Add(metavalidation.ValidateFieldSelectorRequirement(req, opts, p.Child("requirements").Index(i))...)
		}
	}
	if s := r.LabelSelector; s != nil {
		p := field.NewPath("spec.resourceAttributes").Child("labelSelector")
		rawOrParsed(l, p, s.RawSelector, len(s.Requirements))
		for i, req := range s.Requirements {
			opts := metavalidation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			l.Add(metavalidation.ValidateLabelSelectorRequirement(req, opts, p.Child("requirements").Index(i))...)
		}
	}
}

func rawOrParsed(l *check.List, p *field.Path, raw string, parsed int) {
	switch {
	case raw != "" && parsed > 0:
		l.Invalid(p.Child("rawSelector"), raw, "may not specified at the same time as requirements")
	case raw == "" && parsed == 0:
		l.Required(p.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", p))
	}
}
