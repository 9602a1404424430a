package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

func validateDeployment(o, old *appsv1.Deployment) field.ErrorList {
	var l check.List
	s := &o.Spec
	l.NonNegative(specPath.Child("replicas"), int64(ptr.Deref(s.Replicas, 0)))
	selectorAndTemplate(&l, s.Selector, &s.Template)
	strategy(&l, &s.Strategy, specPath.Child("strategy"))
	l.NonNegative(specPath.Child("minReadySeconds"), int64(s.MinReadySeconds))
	l.NonNegativePointer(specPath.Child("revisionHistoryLimit"), s.RevisionHistoryLimit)
	l.NonNegativePointer(specPath.Child("progressDeadlineSeconds"), s.ProgressDeadlineSeconds)
	if d := s.ProgressDeadlineSeconds; d != nil && *d <= s.MinReadySeconds {
		l.Invalid(specPath.Child("progressDeadlineSeconds"), d, "must be greater than minReadySeconds")
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(s.Selector, old.Spec.Selector, specPath.Child("selector"))...)
	}
	return l.Errors()
}

func validateReplicaSet(o, old *appsv1.ReplicaSet) field.ErrorList {
	var l check.List
	s := &o.Spec
	l.NonNegative(specPath.Child("replicas"), int64(ptr.Deref(s.Replicas, 0)))
	l.NonNegative(specPath.Child("minReadySeconds"), int64(s.MinReadySeconds))
	selectorAndTemplate(&l, s.Selector, &s.Template)
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(s.Selector, old.Spec.Selector, specPath.Child("selector"))...)
	}
	return l.Errors()
}

func selectorAndTemplate(l *check.List, s *metav1.LabelSelector, t *corev1.PodTemplateSpec) {
	path := specPath.Child("selector")
	if s == nil {
		l.Required(path, "")
	} else {
		l.Add(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)...)
		if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
			l.Invalid(path, s, "empty selector is invalid for deployment")
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		l.Invalid(path, s, "invalid label selector")
		return
	}
	l.Add(podspec.ValidateTemplate(t, selector, "ReplicaSet", specPath.Child("template"))...)
}

func strategy(l *check.List, s *appsv1.DeploymentStrategy, path *field.Path) {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			l.Forbidden(path.Child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			l.Required(path.Child("rollingUpdate"), "this should be defaulted and never be nil")
			return
		}
		rollingUpdate(l, s.RollingUpdate, path.Child("rollingUpdate"))
	default:
		l.Add(field.NotSupported(path, s, []string{string(appsv1.RecreateDeploymentStrategyType), string(appsv1.RollingUpdateDeploymentStrategyType)}))
	}
}

func rollingUpdate(l *check.List, r *appsv1.RollingUpdateDeployment, path *field.Path) {
	down, up := ptr.Deref(r.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(r.MaxSurge, intstr.IntOrString{})
	l.IntOrPercent(path.Child("maxUnavailable"), down)
	l.IntOrPercent(path.Child("maxSurge"), up)
	if check.Number(down) == 0 && check.Number(up) == 0 {
		l.Invalid(path.Child("maxUnavailable"), down, "may not be 0 when `maxSurge` is 0")
	}
	l.AtMost100Percent(path.Child("maxUnavailable"), down)
}

func validateDeploymentStatus(o, old *appsv1.Deployment) field.ErrorList {
	var l check.List
	s := &o.Status
	l.NonNegative(statusPath.Child("observedGeneration"), s.ObservedGeneration)
	counts(&l, s.Replicas, s.ReadyReplicas, s.AvailableReplicas, []count{
		{"replicas", s.Replicas, false}, {"updatedReplicas", s.UpdatedReplicas, true}, {"readyReplicas", s.ReadyReplicas, true},
		{"availableReplicas", s.AvailableReplicas, true}, {"unavailableReplicas", s.UnavailableReplicas, false},
	})
	l.NonNegativePointer(statusPath.Child("terminatingReplicas"), s.TerminatingReplicas)
	l.NonNegativePointer(statusPath.Child("collisionCount"), s.CollisionCount)
	neverFewerCollisions(&l, s.CollisionCount, old.Status.CollisionCount)
	return l.Errors()
}

func validateReplicaSetStatus(o, _ *appsv1.ReplicaSet) field.ErrorList {
	var l check.List
	s := &o.Status
	counts(&l, s.Replicas, s.ReadyReplicas, s.AvailableReplicas, []count{
		{"replicas", s.Replicas, false}, {"fullyLabeledReplicas", s.FullyLabeledReplicas, true},
		{"readyReplicas", s.ReadyReplicas, true}, {"availableReplicas", s.AvailableReplicas, true},
	})
	l.NonNegative(statusPath.Child("observedGeneration"), s.ObservedGeneration)
	l.NonNegativePointer(statusPath.Child("terminatingReplicas"), s.TerminatingReplicas)
	return l.Errors()
}

// count is one number of a status; bounded ones are never above the number of all replicas.
type count struct {
	name    string
	n       int32
	bounded bool
}

func counts(l *check.List, all, ready, available int32, list []count) {
	for _, c := range list {
		l.NonNegative(statusPath.Child(c.name), int64(c.n))
	}
	for _, c := range list {
		if c.bounded && c.n > all {
			l.Invalid(statusPath.Child(c.name), c.n, "cannot be greater than status.replicas")
		}
	}
	if available > ready {
		l.Invalid(statusPath.Child("availableReplicas"), available, "cannot be greater than readyReplicas")
	}
}
