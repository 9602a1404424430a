package policy

import (
	"slices"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// emptyMatchKey is the key by which policy/v1beta1 kept what an empty selector meant there. Beside a
// client's own expressions it means nothing and is dropped.
const emptyMatchKey = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"

// matchNone is the selector that policy/v1beta1 showed as an empty one.
var matchNone = metav1.LabelSelector{
	MatchExpressions: []metav1.LabelSelectorRequirement{{Key: emptyMatchKey, Operator: metav1.LabelSelectorOpExists}},
}

func prepareBudget(o, old *policyv1.PodDisruptionBudget) {
	s := o.Spec.Selector
	if old != nil && !equality.Semantic.DeepEqual(old.Spec, o.Spec) {
		o.Generation = old.Generation + 1 // even if what is dropped is all that is new
	}
	switch {
	case s == nil, old != nil && equality.Semantic.DeepEqual(old.Spec.Selector, s), equality.Semantic.DeepEqual(*s, matchNone):
		return
	}
	s.MatchExpressions = slices.DeleteFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool { return r.Key == emptyMatchKey })
}

func validateBudget(o, old *policyv1.PodDisruptionBudget) field.ErrorList {
	var l check.List
	s, path := &o.Spec, field.NewPath("spec")
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		l.Invalid(path, *s, "minAvailable and maxUnavailable cannot be both set")
	}
	if s.MinAvailable != nil {
		l.IntOrPercent(path.Child("minAvailable"), *s.MinAvailable)
		l.AtMost100Percent(path.Child("minAvailable"), *s.MinAvailable)
	}
	if s.MaxUnavailable != nil {
		l.IntOrPercent(path.Child("maxUnavailable"), *s.MaxUnavailable)
		l.AtMost100Percent(path.Child("maxUnavailable"), *s.MaxUnavailable)
	}
	l.Add(metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: old != nil && old.Spec.Selector != nil &&
			len(metavalidation.ValidateLabelSelector(old.Spec.Selector, metavalidation.LabelSelectorValidationOptions{}, nil)) > 0,
	}, path.Child("selector"))...)
	if s.UnhealthyPodEvictionPolicy != nil {
		check.Supported(&l, path.Child("unhealthyPodEvictionPolicy"), *s.UnhealthyPodEvictionPolicy, policyv1.AlwaysAllow, policyv1.IfHealthyBudget)
	}
	return l.Errors()
}

func validateBudgetStatus(o, _ *policyv1.PodDisruptionBudget) field.ErrorList {
	var l check.List
	s, path := &o.Status, field.NewPath("status")
	l.Add(metavalidation.ValidateConditions(s.Conditions, path.Child("conditions"))...)
	l.NonNegative(path.Child("disruptionsAllowed"), int64(s.DisruptionsAllowed))
	l.NonNegative(path.Child("currentHealthy"), int64(s.CurrentHealthy))
	l.NonNegative(path.Child("desiredHealthy"), int64(s.DesiredHealthy))
	l.NonNegative(path.Child("expectedPods"), int64(s.ExpectedPods))
	return l.Errors()
}
