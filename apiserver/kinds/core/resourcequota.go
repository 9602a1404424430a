package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ResourceQuota returns the row of ResourceQuota.
func ResourceQuota() apiserver.Kind {
	k := newKind("ResourceQuota", "resourcequotas", "resourcequota", "quota")
	k.Status = true
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.ResourceQuota{}, &corev1.ResourceQuotaList{}
	k.Default = row.Of(func(o *corev1.ResourceQuota) {
		podspec.RoundResources(o.Spec.Hard)
		podspec.RoundResources(o.Status.Hard)
		podspec.RoundResources(o.Status.Used)
	})
	k.Validate = row.Check(validateQuota)
	k.Warnings = row.Warn(quotaWarnings)
	k.ValidateStatus = row.Check(func(o, _ *corev1.ResourceQuota) field.ErrorList {
		var l check.List
		quotaList(&l, field.NewPath("status", "hard"), o.Status.Hard)
		quotaList(&l, field.NewPath("status", "used"), o.Status.Used)
		return l.Errors()
	})
	k.Columns = row.Columns("Name", "Request", "Limit", "Age")
	k.Row = row.Cells(func(o *corev1.ResourceQuota, now time.Time) []any {
		var requests, limits []string
		for _, name := range slices.Sorted(maps.Keys(o.Status.Hard)) {
			used, hard := o.Status.Used[name], o.Status.Hard[name]
			cell := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
			if strings.HasPrefix(string(name), "limits.") {
				limits = append(limits, cell)
			} else {
				requests = append(requests, cell)
			}
		}
		return []any{o.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateQuota(o, old *corev1.ResourceQuota) field.ErrorList {
	var l check.List
	s := &o.Spec
	quotaList(&l, specPath.Child("hard"), s.Hard)
	scopes := specPath.Child("scopes")
	for _, scope := range s.Scopes {
		quotaScope(&l, scopes, scopes, scope, s.Scopes, s)
	}
	conflicts(&l, scopes, s.Scopes, s)
	if s.ScopeSelector != nil {
		scopeSelector(&l, specPath.Child("scopeSelector", "matchExpressions"), s)
	}
	if old != nil && !sameScopes(s.Scopes, old.Spec.Scopes) {
		l.Invalid(scopes, s.Scopes, apivalidation.FieldImmutableErrorMsg)
	}
	return l.Errors()
}

func sameScopes(a, b []corev1.ResourceQuotaScope) bool {
	in := func(a, b []corev1.ResourceQuotaScope) bool {
		return !slices.ContainsFunc(a, func(s corev1.ResourceQuotaScope) bool { return !slices.Contains(b, s) })
	}
	return in(a, b) && in(b, a)
}

func quotaList(l *check.List, path *field.Path, list corev1.ResourceList) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		p := path.Key(string(name))
		l.ResourceName(p, name)
		if !strings.Contains(string(name), "/") && !check.IsQuota(name) {
			l.Invalid(p, name, "must be a standard resource for quota")
		}
		l.Quantity(p, name, list[name])
	}
}

// scoped are the resources that a scope can be about; what is missing goes with all.
var scoped = map[corev1.ResourceQuotaScope][]corev1.ResourceName{
	corev1.ResourceQuotaScopeBestEffort:                {corev1.ResourcePods},
	corev1.ResourceQuotaScopeTerminating:               podResources,
	corev1.ResourceQuotaScopeNotTerminating:            podResources,
	corev1.ResourceQuotaScopeNotBestEffort:             podResources,
	corev1.ResourceQuotaScopePriorityClass:             podResources,
	corev1.ResourceQuotaScopeCrossNamespacePodAffinity: podResources,
	corev1.ResourceQuotaScopeVolumeAttributesClass:     {corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage},
}

var podResources = []corev1.ResourceName{
	corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
}

// quotaScope asks for a scope that exists and goes with all that the quota limits. value is what the
// errors show.
func quotaScope(l *check.List, name, path *field.Path, scope corev1.ResourceQuotaScope, value any, s *corev1.ResourceQuotaSpec) {
	resources, known := scoped[scope]
	if !known {
		l.Invalid(name, value, "unsupported scope")
		return
	}
	for _, r := range slices.Sorted(maps.Keys(s.Hard)) {
		if check.IsQuota(r) && !slices.Contains(resources, r) {
			l.Invalid(path, value, "unsupported scope applied to resource")
		}
	}
}

func conflicts(l *check.List, path *field.Path, scopes []corev1.ResourceQuotaScope, s *corev1.ResourceQuotaSpec) {
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating},
	} {
		if slices.Contains(scopes, pair[0]) && slices.Contains(scopes, pair[1]) {
			l.Invalid(path, s.Scopes, "conflicting scopes")
		}
	}
}

func scopeSelector(l *check.List, path *field.Path, s *corev1.ResourceQuotaSpec) {
	var scopes []corev1.ResourceQuotaScope
	for _, r := range s.ScopeSelector.MatchExpressions {
		quotaScope(l, path.Child("scopeName"), path, r.ScopeName, s.ScopeSelector, s)
		scopes = append(scopes, r.ScopeName)
		switch r.ScopeName {
		case corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeVolumeAttributesClass:
		default:
			if _, known := scoped[r.ScopeName]; known && r.Operator != corev1.ScopeSelectorOpExists {
				l.Invalid(path.Child("operator"), r.Operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "+
					"ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity")
			}
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				l.Required(path.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				l.Invalid(path.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector")
			}
		default:
			l.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator")
		}
	}
	conflicts(l, path, scopes, s)
}
