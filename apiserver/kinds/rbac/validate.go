package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

func bindingColumns() []metav1.TableColumnDefinition {
	return row.Columns("Name", "Role", "Age", "Users::wide", "Groups::wide", "ServiceAccounts::wide")
}

func validateRole(o, _ *rbacv1.Role) field.ErrorList {
	var l check.List
	rules(&l, o.Rules, true)
	return l.Errors()
}

func validateClusterRole(o, old *rbacv1.ClusterRole) field.ErrorList {
	var l check.List
	rules(&l, o.Rules, false)
	if o.AggregationRule == nil {
		return l.Errors()
	}
	p := field.NewPath("aggregationRule", "clusterRoleSelectors")
	selectors := o.AggregationRule.ClusterRoleSelectors
	if len(selectors) == 0 {
		l.Required(p, "at least one clusterRoleSelector required if aggregationRule is non-nil")
	}
	opts := metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: hadOddSelector(old)}
	for i := range selectors {
		l.Add(metavalidation.ValidateLabelSelector(&selectors[i], opts, p.Index(i))...)
		if selector, err := metav1.LabelSelectorAsSelector(&selectors[i]); err != nil {
			l.Invalid(p.Index(i), selector, "invalid label selector.")
		}
	}
	return l.Errors()
}

// hadOddSelector tells whether a selector of the old role has values that labels can't have.
func hadOddSelector(old *rbacv1.ClusterRole) bool {
	if old == nil || old.AggregationRule == nil {
		return false
	}
	for i := range old.AggregationRule.ClusterRoleSelectors {
		if len(metavalidation.ValidateLabelSelector(&old.AggregationRule.ClusterRoleSelectors[i], metavalidation.LabelSelectorValidationOptions{}, nil)) > 0 {
			return true
		}
	}
	return false
}

func rules(l *check.List, list []rbacv1.PolicyRule, namespaced bool) {
	for i, r := range list {
		p := field.NewPath("rules").Index(i)
		if len(r.Verbs) == 0 {
			l.Required(p.Child("verbs"), "")
		}
		if len(r.NonResourceURLs) > 0 {
			urls := p.Child("nonResourceURLs")
			if namespaced {
				l.Invalid(urls, r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs")
			}
			if len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0 {
				l.Invalid(urls, r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs")
			}
			continue
		}
		if len(r.APIGroups) == 0 {
			l.Required(p.Child("apiGroups"), "resource rules must supply at least one api group")
		}
		if len(r.Resources) == 0 {
			l.Required(p.Child("resources"), "resource rules must supply at least one resource")
		}
	}
}

func validateRoleBinding(o, old *rbacv1.RoleBinding) field.ErrorList {
	var l check.List
	roleRef(&l, o.RoleRef, "Role", "ClusterRole")
	subjects(&l, o.Subjects, true)
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.RoleRef, old.RoleRef, field.NewPath("roleRef"))...)
	}
	return l.Errors()
}

func validateClusterRoleBinding(o, old *rbacv1.ClusterRoleBinding) field.ErrorList {
	var l check.List
	roleRef(&l, o.RoleRef, "ClusterRole")
	subjects(&l, o.Subjects, false)
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.RoleRef, old.RoleRef, field.NewPath("roleRef"))...)
	}
	return l.Errors()
}

func roleRef(l *check.List, r rbacv1.RoleRef, kinds ...string) {
	p := field.NewPath("roleRef")
	check.Supported(l, p.Child("apiGroup"), r.APIGroup, rbacv1.GroupName)
	check.Supported(l, p.Child("kind"), r.Kind, kinds...)
	if r.Name == "" {
		l.Required(p.Child("name"), "")
		return
	}
	l.Messages(p.Child("name"), r.Name, content.IsPathSegmentName(r.Name))
}

func subjects(l *check.List, list []rbacv1.Subject, namespaced bool) {
	for i, s := range list {
		p := field.NewPath("subjects").Index(i)
		if s.Name == "" {
			l.Required(p.Child("name"), "")
		}
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			if s.Name != "" {
				l.Messages(p.Child("name"), s.Name, apivalidation.ValidateServiceAccountName(s.Name, false))
			}
			check.Supported(l, p.Child("apiGroup"), s.APIGroup, "")
			if !namespaced && s.Namespace == "" {
				l.Required(p.Child("namespace"), "")
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
			check.Supported(l, p.Child("apiGroup"), s.APIGroup, rbacv1.GroupName)
		default:
			check.Supported(l, p.Child("kind"), s.Kind, rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind)
		}
	}
}
