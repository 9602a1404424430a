package apps

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// StatefulSet returns the row of StatefulSet.
func StatefulSet() apiserver.Kind {
	k := newKind("StatefulSet", "statefulsets", "statefulset", "sts")
	k.Object, k.List = &appsv1.StatefulSet{}, &appsv1.StatefulSetList{}
	k.NameIsValid = validation.NameIsDNSLabel
	k.Default = row.Of(defaultStatefulSet)
	k.Decoded = row.Of(typeClaimTemplates)
	k.Prepare = row.Pair(func(o, old *appsv1.StatefulSet) {
		podspec.DropDisabled(&o.Spec.Template.Spec)
		if r := o.Spec.UpdateStrategy.RollingUpdate; r != nil {
			fill.Nil(&r.Partition, 0) // whatever the strategy
		}
		if old == nil {
			o.Status = appsv1.StatefulSetStatus{}
		}
	})
	k.Validate = row.Check(validateStatefulSet)
	k.ValidateStatus = row.Check(validateStatefulSetStatus)
	k.Warnings = row.Warn(statefulSetWarnings)
	k.Scale = &apiserver.Scale{
		Get: func(obj client.Object) (int32, int32, string) {
			o := obj.(*appsv1.StatefulSet)
			return ptr.Deref(o.Spec.Replicas, 1), o.Status.Replicas, selectorText(o.Spec.Selector)
		},
		Set: func(obj client.Object, replicas int32) { obj.(*appsv1.StatefulSet).Spec.Replicas = &replicas },
	}
	k.Columns = row.Columns("Name", "Ready", "Age", "Containers::wide", "Images::wide")
	k.Row = row.Cells(func(o *appsv1.StatefulSet, now time.Time) []any {
		names, images := row.Containers(o.Spec.Template.Spec.Containers)
		return []any{o.Name, fmt.Sprintf("%d/%d", o.Status.ReadyReplicas, ptr.Deref(o.Spec.Replicas, 0)),
			row.Age(o.CreationTimestamp, now), names, images}
	})
	return k
}

// typeClaimTemplates makes the templates of claims tell their type.
func typeClaimTemplates(o *appsv1.StatefulSet) {
	for i := range o.Spec.VolumeClaimTemplates {
		c := &o.Spec.VolumeClaimTemplates[i]
		c.APIVersion, c.Kind = "v1", "PersistentVolumeClaim"
	}
}

func defaultStatefulSet(o *appsv1.StatefulSet) {
	s := &o.Spec
	typeClaimTemplates(o)
	fill.Empty(&s.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	if u := &s.UpdateStrategy; u.Type == "" {
		u.Type = appsv1.RollingUpdateStatefulSetStrategyType
		fill.Nil(&u.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if r := s.UpdateStrategy.RollingUpdate; r != nil && s.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		fill.Nil(&r.Partition, 0)
		fill.Nil(&r.MaxUnavailable, intstr.FromInt32(1))
	}
	fill.Nil(&s.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	fill.Empty(&s.PersistentVolumeClaimRetentionPolicy.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	fill.Empty(&s.PersistentVolumeClaimRetentionPolicy.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	fill.Nil(&s.Replicas, 1)
	fill.Nil(&s.RevisionHistoryLimit, 10)
	podspec.Default(&s.Template.Spec)
	for i := range s.VolumeClaimTemplates {
		c := &s.VolumeClaimTemplates[i]
		fill.Empty(&c.Status.Phase, corev1.ClaimPending)
		podspec.DefaultClaimSpec(&c.Spec)
		podspec.RoundResources(c.Status.Capacity)
		podspec.RoundResources(c.Status.AllocatedResources)
	}
}

func statefulSetWarnings(o, old *appsv1.StatefulSet) []string {
	out := podspec.TemplateWarnings(&o.Spec.Template, specPath.Child("template"), old == nil || o.Generation != old.Generation)
	for i := range o.Spec.VolumeClaimTemplates {
		path := specPath.Child("volumeClaimTemplates").Index(i)
		if old != nil {
			path = path.Child("Spec") // as Kubernetes calls it here
		}
		out = append(out, podspec.ClaimWarnings(&o.Spec.VolumeClaimTemplates[i].Spec, path)...)
	}
	if n := o.Spec.RevisionHistoryLimit; n != nil && *n < 0 {
		out = append(out, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
	}
	return out
}

// statefulTemplate is the template as its pods get it: with the volumes of the set's own claims, and
// without the names that the set chooses.
func statefulTemplate(s *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	t := s.Template.DeepCopy()
	t.Spec.Subdomain, t.Spec.Hostname = "", ""
	var own []corev1.Volume
	for _, c := range s.VolumeClaimTemplates {
		i := slices.IndexFunc(own, func(v corev1.Volume) bool { return v.Name == c.Name })
		if i >= 0 {
			continue
		}
		own = append(own, corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name},
		}})
	}
	mine := len(own)
	for _, v := range t.Spec.Volumes {
		if !slices.ContainsFunc(own[:mine], func(c corev1.Volume) bool { return c.Name == v.Name }) {
			own = append(own, v)
		}
	}
	t.Spec.Volumes = own
	return t
}

func validateStatefulSet(o, old *appsv1.StatefulSet) field.ErrorList {
	if old == nil {
		return statefulSetSpec(&o.Spec, true, true)
	}
	// What was stored before a rule was made stays.
	l := statefulSetSpec(&o.Spec, false, len(statefulSetSpec(&old.Spec, false, true)) == 0)
	now, was := &o.Spec, &old.Spec
	for _, f := range []struct {
		name     string
		now, was any
	}{{"selector", now.Selector, was.Selector}, {"volumeClaimTemplates", now.VolumeClaimTemplates, was.VolumeClaimTemplates},
		{"serviceName", now.ServiceName, was.ServiceName}, {"podManagementPolicy", now.PodManagementPolicy, was.PodManagementPolicy}} {
		l = append(l, validation.ValidateImmutableField(f.now, f.was, specPath.Child(f.name))...)
	}
	return l
}
