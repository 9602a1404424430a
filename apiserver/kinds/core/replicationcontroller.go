package core

import (
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ReplicationController returns the row of ReplicationController.
func ReplicationController() apiserver.Kind {
	k := newKind("ReplicationController", "replicationcontrollers", "replicationcontroller", "rc")
	k.Categories = []string{"all"}
	k.Status = true
	k.Orphan = true // as in its first version
	k.Generation = true
	k.Object, k.List = &corev1.ReplicationController{}, &corev1.ReplicationControllerList{}
	k.Default = row.Of(defaultController)
	k.Prepare = row.Pair(func(o, old *corev1.ReplicationController) {
		if o.Spec.Template != nil {
			podspec.DropDisabled(&o.Spec.Template.Spec)
		}
		if old == nil {
			o.Status = corev1.ReplicationControllerStatus{}
		}
	})
	k.Validate = row.Check(validateController)
	k.Warnings = row.Warn(replicationControllerWarnings)
	k.ValidateStatus = row.Check(validateControllerStatus)
	k.Scale = &apiserver.Scale{
		Get: func(obj client.Object) (int32, int32, string) {
			o := obj.(*corev1.ReplicationController)
			return ptr.Deref(o.Spec.Replicas, 1), o.Status.Replicas, labels.SelectorFromSet(o.Spec.Selector).String()
		},
		Set: func(obj client.Object, replicas int32) { obj.(*corev1.ReplicationController).Spec.Replicas = &replicas },
	}
	k.Fields = row.Fields(map[string]func(*corev1.ReplicationController) string{
		"status.replicas": func(o *corev1.ReplicationController) string { return strconv.Itoa(int(o.Status.Replicas)) },
	})
	k.Columns = row.Columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", "Containers::wide", "Images::wide", "Selector::wide")
	k.Row = row.Cells(func(o *corev1.ReplicationController, now time.Time) []any {
		var containers []corev1.Container
		if o.Spec.Template != nil {
			containers = o.Spec.Template.Spec.Containers
		}
		names, images := row.Containers(containers)
		return []any{o.Name, int64(ptr.Deref(o.Spec.Replicas, 0)), int64(o.Status.Replicas), int64(o.Status.ReadyReplicas),
			row.Age(o.CreationTimestamp, now), names, images, row.Labels(o.Spec.Selector)}
	})
	return k
}

// defaultController lets the template's labels be the selector and the labels of a controller that
// has none.
func defaultController(o *corev1.ReplicationController) {
	s := &o.Spec
	if s.Template != nil && s.Template.Labels != nil {
		if len(s.Selector) == 0 {
			s.Selector = maps.Clone(s.Template.Labels)
		}
		if len(o.Labels) == 0 {
			o.Labels = maps.Clone(s.Template.Labels)
		}
	}
	fill.Nil(&s.Replicas, 1)
	if s.Template != nil {
		podspec.Default(&s.Template.Spec)
	}
}

func validateController(o, _ *corev1.ReplicationController) field.ErrorList {
	var l check.List
	s := &o.Spec
	l.NonNegative(specPath.Child("minReadySeconds"), int64(s.MinReadySeconds))
	if len(s.Selector) == 0 {
		l.Required(specPath.Child("selector"), "")
	}
	if s.Replicas == nil {
		l.Required(specPath.Child("replicas"), "")
	} else {
		l.NonNegative(specPath.Child("replicas"), int64(*s.Replicas))
	}
	if s.Template == nil {
		l.Required(specPath.Child("template"), "")
		return l.Errors()
	}
	l.Add(podspec.ValidateTemplate(s.Template, labels.SelectorFromSet(s.Selector), "ReplicationController", specPath.Child("template"))...)
	return l.Errors()
}

func validateControllerStatus(o, _ *corev1.ReplicationController) field.ErrorList {
	var l check.List
	s, path := &o.Status, field.NewPath("status")
	counts := []struct {
		name string
		n    int32
	}{{"fullyLabeledReplicas", s.FullyLabeledReplicas}, {"readyReplicas", s.ReadyReplicas}, {"availableReplicas", s.AvailableReplicas}}
	l.NonNegative(path.Child("replicas"), int64(s.Replicas))
	for _, c := range counts {
		l.NonNegative(path.Child(c.name), int64(c.n))
	}
	l.NonNegative(path.Child("observedGeneration"), s.ObservedGeneration)
	for _, c := range counts {
		if c.n > s.Replicas {
			l.Invalid(path.Child(c.name), c.n, "cannot be greater than status.replicas")
		}
	}
	if s.AvailableReplicas > s.ReadyReplicas {
		l.Invalid(path.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas")
	}
	return l.Errors()
}

// PodTemplate returns the row of PodTemplate.
func PodTemplate() apiserver.Kind {
	k := newKind("PodTemplate", "podtemplates", "podtemplate")
	k.Generation = true
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.PodTemplate{}, &corev1.PodTemplateList{}
	k.Default = row.Of(func(o *corev1.PodTemplate) { podspec.Default(&o.Template.Spec) })
	k.Prepare = row.Pair(func(o, _ *corev1.PodTemplate) { podspec.DropDisabled(&o.Template.Spec) })
	k.Warnings = row.Warn(podTemplateWarnings)
	k.Validate = row.Check(func(o, _ *corev1.PodTemplate) field.ErrorList {
		return podspec.ValidateTemplateSpec(&o.Template, field.NewPath("template"))
	})
	k.Columns = row.Columns("Name", "Containers", "Images", "Pod Labels")
	k.Row = row.Cells(func(o *corev1.PodTemplate, _ time.Time) []any {
		names, images := row.Containers(o.Template.Spec.Containers)
		return []any{o.Name, names, images, row.Labels(o.Template.Labels)}
	})
	return k
}
