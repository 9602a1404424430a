package apps

import (
	"maps"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// DaemonSet returns the row of DaemonSet.
func DaemonSet() apiserver.Kind {
	k := newKind("DaemonSet", "daemonsets", "daemonset", "ds")
	k.Object, k.List = &appsv1.DaemonSet{}, &appsv1.DaemonSetList{}
	k.DerivedAnnotations = []string{appsv1.DeprecatedTemplateGeneration}
	k.Default = row.Of(defaultDaemonSet)
	k.Prepare = row.Pair(prepareDaemonSet)
	// In Kubernetes the count is a part of the spec, which writers of the status leave alone.
	k.PrepareStatus = row.Pair(func(o, old *appsv1.DaemonSet) { setTemplateGeneration(o, templateGeneration(old)) })
	k.Validate = row.Check(validateDaemonSet)
	k.ValidateStatus = row.Check(validateDaemonSetStatus)
	k.Warnings = row.Warn(func(o, old *appsv1.DaemonSet) []string {
		return podspec.TemplateWarnings(&o.Spec.Template, specPath.Child("template"), old == nil || o.Generation != old.Generation)
	})
	k.Columns = row.Columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer", "Available:integer",
		"Node Selector", "Age", "Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(func(o *appsv1.DaemonSet, now time.Time) []any {
		s := &o.Status
		names, images := row.Containers(o.Spec.Template.Spec.Containers)
		return []any{o.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady),
			int64(s.UpdatedNumberScheduled), int64(s.NumberAvailable), row.Labels(o.Spec.Template.Spec.NodeSelector),
			row.Age(o.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(o.Spec.Selector)}
	})
	return k
}

func defaultDaemonSet(o *appsv1.DaemonSet) {
	u := &o.Spec.UpdateStrategy
	fill.Empty(&u.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		fill.Nil(&u.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		fill.Nil(&u.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		fill.Nil(&u.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	fill.Nil(&o.Spec.RevisionHistoryLimit, 10)
	podspec.Default(&o.Spec.Template.Spec)
}

// prepareDaemonSet keeps the count of the template's changes, which this version of the API has as
// an annotation.
func prepareDaemonSet(o, old *appsv1.DaemonSet) {
	podspec.DropDisabled(&o.Spec.Template.Spec)
	if r := o.Spec.UpdateStrategy.RollingUpdate; r != nil { // whatever the strategy
		fill.Nil(&r.MaxUnavailable, intstr.IntOrString{})
		fill.Nil(&r.MaxSurge, intstr.IntOrString{})
	}
	n := templateGeneration(o)
	if old == nil {
		o.Status = appsv1.DaemonSetStatus{}
		n = max(n, 1)
	} else if n = templateGeneration(old); !equality.Semantic.DeepEqual(o.Spec.Template, old.Spec.Template) {
		n++
	}
	setTemplateGeneration(o, n)
}

func setTemplateGeneration(o *appsv1.DaemonSet, n int64) {
	annotations := make(map[string]string, len(o.Annotations)+1)
	maps.Copy(annotations, o.Annotations)
	annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(n, 10)
	o.Annotations = annotations
}

func templateGeneration(o *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(o.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func validateDaemonSet(o, old *appsv1.DaemonSet) field.ErrorList {
	var l check.List
	s := &o.Spec
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(s.Selector, old.Spec.Selector, specPath.Child("selector"))...)
	}
	l.Add(metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: old != nil && metavalidation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector),
	}, specPath.Child("selector"))...)
	template := specPath.Child("template")
	if selector, err := metav1.LabelSelectorAsSelector(s.Selector); err == nil && !selector.Matches(labels.Set(s.Template.Labels)) {
		l.Invalid(template.Child("metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`")
	}
	if s.Selector != nil && len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
		l.Invalid(specPath.Child("selector"), s.Selector, "empty selector is invalid for daemonset")
	}
	l.Add(podspec.ValidateTemplateSpec(&s.Template, template)...)
	alwaysRestarted(&l, &s.Template.Spec, "DaemonSet", template.Child("spec"))
	l.NonNegative(specPath.Child("minReadySeconds"), int64(s.MinReadySeconds))
	l.NonNegative(specPath.Child("templateGeneration"), templateGeneration(o))
	daemonStrategy(&l, &s.UpdateStrategy, specPath.Child("updateStrategy"))
	l.NonNegativePointer(specPath.Child("revisionHistoryLimit"), s.RevisionHistoryLimit)
	return l.Errors()
}

func daemonStrategy(l *check.List, u *appsv1.DaemonSetUpdateStrategy, path *field.Path) {
	switch u.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
	case appsv1.RollingUpdateDaemonSetStrategyType:
		p := path.Child("rollingUpdate")
		if u.RollingUpdate == nil {
			l.Required(p, "")
			return
		}
		down, up := ptr.Deref(u.RollingUpdate.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(u.RollingUpdate.MaxSurge, intstr.IntOrString{})
		l.IntOrPercent(p.Child("maxUnavailable"), down)
		l.IntOrPercent(p.Child("maxSurge"), up)
		l.AtMost100Percent(p.Child("maxUnavailable"), down)
		l.AtMost100Percent(p.Child("maxSurge"), up)
		switch hasDown, hasUp := check.Number(down) != 0, check.Number(up) != 0; {
		case hasDown && hasUp:
			l.Invalid(p.Child("maxSurge"), up, "may not be set when maxUnavailable is non-zero")
		case !hasDown && !hasUp:
			l.Required(p.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0")
		}
	default:
		l.Add(field.NotSupported(path, u, []string{string(appsv1.RollingUpdateDaemonSetStrategyType), string(appsv1.OnDeleteDaemonSetStrategyType)}))
	}
}

func validateDaemonSetStatus(o, old *appsv1.DaemonSet) field.ErrorList {
	var l check.List
	s := &o.Status
	for _, c := range []count{
		{"currentNumberScheduled", s.CurrentNumberScheduled, false}, {"numberMisscheduled", s.NumberMisscheduled, false},
		{"desiredNumberScheduled", s.DesiredNumberScheduled, false}, {"numberReady", s.NumberReady, false},
		{"updatedNumberScheduled", s.UpdatedNumberScheduled, false}, {"numberAvailable", s.NumberAvailable, false},
		{"numberUnavailable", s.NumberUnavailable, false},
	} {
		l.NonNegative(statusPath.Child(c.name), int64(c.n))
	}
	l.NonNegative(statusPath.Child("observedGeneration"), s.ObservedGeneration)
	l.NonNegativePointer(statusPath.Child("collisionCount"), s.CollisionCount)
	neverFewerCollisions(&l, s.CollisionCount, old.Status.CollisionCount)
	return l.Errors()
}
