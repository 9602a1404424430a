package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

// statefulSetSpec checks a set. isNew asks for what can't change later; withTemplate is false for a
// set whose template was wrong before.
func statefulSetSpec(s *appsv1.StatefulSetSpec, isNew, withTemplate bool) field.ErrorList {
	var l check.List
	switch p := specPath.Child("podManagementPolicy"); s.PodManagementPolicy {
	case "":
		l.Required(p, "")
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		l.Invalid(p, s.PodManagementPolicy, fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement))
	}
	statefulStrategy(&l, &s.UpdateStrategy, specPath.Child("updateStrategy"))
	if r, p := s.PersistentVolumeClaimRetentionPolicy, specPath.Child("persistentVolumeClaimRetentionPolicy"); r != nil {
		retained := []appsv1.PersistentVolumeClaimRetentionPolicyType{
			appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
		}
		check.Supported(&l, p.Child("whenDeleted"), r.WhenDeleted, retained...)
		check.Supported(&l, p.Child("whenScaled"), r.WhenScaled, retained...)
	}
	if isNew {
		for i := range s.VolumeClaimTemplates {
			l.Add(podspec.ValidateClaimSpec(&s.VolumeClaimTemplates[i].Spec, podspec.ClaimOptions{}, specPath.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
		}
	}
	l.NonNegative(specPath.Child("replicas"), int64(ptr.Deref(s.Replicas, 0)))
	l.NonNegative(specPath.Child("minReadySeconds"), int64(s.MinReadySeconds))
	if s.Ordinals != nil {
		l.NonNegative(specPath.Child("ordinals.start"), int64(s.Ordinals.Start))
	}
	if isNew && s.ServiceName != "" {
		l.Label(specPath.Child("serviceName"), s.ServiceName)
	}
	statefulSelector(&l, s, withTemplate)
	return l.Errors()
}

func statefulStrategy(l *check.List, u *appsv1.StatefulSetUpdateStrategy, path *field.Path) {
	rolling := path.Child("rollingUpdate")
	switch u.Type {
	case "":
		l.Required(path, "")
	case appsv1.OnDeleteStatefulSetStrategyType:
		if u.RollingUpdate != nil {
			l.Invalid(rolling, u.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))
		}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if u.RollingUpdate == nil {
			return
		}
		l.NonNegative(rolling.Child("partition"), int64(ptr.Deref(u.RollingUpdate.Partition, 0)))
		if n, p := u.RollingUpdate.MaxUnavailable, rolling.Child("maxUnavailable"); n != nil {
			l.IntOrPercent(p, *n)
			if check.Number(*n) == 0 {
				l.Invalid(p, *n, "cannot be 0")
			}
			l.AtMost100Percent(p, *n)
		}
	default:
		l.Invalid(path, u, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))
	}
}

func statefulSelector(l *check.List, s *appsv1.StatefulSetSpec, withTemplate bool) {
	path := specPath.Child("selector")
	if s.Selector == nil {
		l.Required(path, "")
	} else {
		l.Add(metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, path)...)
		if len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
			l.Invalid(path, s.Selector, "empty selector is invalid for statefulset")
		}
	}
	template := specPath.Child("template")
	if selector, err := metav1.LabelSelectorAsSelector(s.Selector); err != nil {
		l.Invalid(path, s.Selector, "")
	} else {
		if !selector.Empty() && !selector.Matches(labels.Set(s.Template.Labels)) {
			l.Invalid(template.Child("metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`")
		}
		t := statefulTemplate(s)
		if withTemplate {
			l.Add(podspec.ValidateTemplateSpec(t, template)...)
		} else {
			l.Add(podspec.ValidateTemplateMeta(t, template)...)
		}
	}
	alwaysRestarted(l, &s.Template.Spec, "StatefulSet", template.Child("spec"))
}

// alwaysRestarted refuses what pods that are always kept running can not have.
func alwaysRestarted(l *check.List, s *corev1.PodSpec, owner string, path *field.Path) {
	if s.RestartPolicy != corev1.RestartPolicyAlways {
		l.Add(field.NotSupported(path.Child("restartPolicy"), s.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if s.ActiveDeadlineSeconds != nil {
		l.Forbidden(path.Child("activeDeadlineSeconds"), "activeDeadlineSeconds in "+owner+" is not Supported")
	}
}

func validateStatefulSetStatus(o, old *appsv1.StatefulSet) field.ErrorList {
	var l check.List
	s := &o.Status
	list := []count{
		{"replicas", s.Replicas, false}, {"readyReplicas", s.ReadyReplicas, true}, {"currentReplicas", s.CurrentReplicas, true},
		{"updatedReplicas", s.UpdatedReplicas, true}, {"availableReplicas", s.AvailableReplicas, true},
	}
	for _, c := range list {
		l.NonNegative(statusPath.Child(c.name), int64(c.n))
	}
	l.NonNegative(statusPath.Child("observedGeneration"), s.ObservedGeneration)
	l.NonNegativePointer(statusPath.Child("collisionCount"), s.CollisionCount)
	for _, c := range list {
		if c.bounded && c.n > s.Replicas {
			l.Invalid(statusPath.Child(c.name), c.n, "cannot be greater than status.replicas")
		}
	}
	if s.AvailableReplicas > s.ReadyReplicas {
		l.Invalid(statusPath.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than status.readyReplicas")
	}
	neverFewerCollisions(&l, s.CollisionCount, old.Status.CollisionCount)
	return l.Errors()
}

func neverFewerCollisions(l *check.List, now, was *int32) {
	if was != nil && ptr.Deref(now, 0) < *was {
		l.Invalid(statusPath.Child("collisionCount"), ptr.Deref(now, 0), "cannot be decremented")
	}
}
