package core

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

func validateClaim(o, old *corev1.PersistentVolumeClaim) field.ErrorList {
	if old == nil {
		return podspec.ValidateClaimSpec(&o.Spec, podspec.ClaimOptions{}, specPath)
	}
	before := old.Spec.DeepCopy()
	pairSources(before) // as it would be stored today
	strict := metavalidation.LabelSelectorValidationOptions{}
	opts := podspec.ClaimOptions{
		InvalidSelector: len(metavalidation.ValidateLabelSelector(before.Selector, strict, nil)) > 0,
		InvalidGroup: before.DataSource != nil && before.DataSource.APIGroup != nil ||
			before.DataSourceRef != nil && before.DataSourceRef.APIGroup != nil,
	}
	l := check.List(podspec.ValidateClaimSpec(&o.Spec, opts, specPath))
	claimStays(&l, o, old, before)
	claimSize(&l, o, old)
	l.Add(apivalidation.ValidateImmutableField(o.Spec.VolumeMode, before.VolumeMode, field.NewPath("volumeMode"))...)
	if was := old.Status.CurrentVolumeAttributesClassName; was != nil &&
		!equality.Semantic.DeepEqual(o.Spec.VolumeAttributesClassName, before.VolumeAttributesClassName) {
		const applied = " is forbidden when status.currentVolumeAttributesClassName is not nil"
		switch name := o.Spec.VolumeAttributesClassName; {
		case name == nil:
			l.Forbidden(specPath.Child("volumeAttributesClassName"), "update to nil"+applied)
		case *name == "":
			l.Forbidden(specPath.Child("volumeAttributesClassName"), "update to empty string"+applied)
		}
	}
	return l.Errors()
}

// claimStays puts back what may change, and refuses any difference that is left.
func claimStays(l *check.List, o, old *corev1.PersistentVolumeClaim, before *corev1.PersistentVolumeClaimSpec) {
	s := o.Spec.DeepCopy()
	was := before.DeepCopy()
	if was.VolumeName == "" {
		was.VolumeName = s.VolumeName // may be set once
	}
	oldClass, annotated := old.Annotations[corev1.BetaStorageClassAnnotation]
	newClass, stillAnnotated := o.Annotations[corev1.BetaStorageClassAnnotation]
	named := was.StorageClassName == nil && s.StorageClassName != nil
	switch {
	case annotated && named && *s.StorageClassName == oldClass && (!stillAnnotated || newClass == oldClass):
		s.StorageClassName = nil // from the annotation to the field
	default:
		if newClass != oldClass {
			l.Invalid(field.NewPath("metadata", "annotations", corev1.BetaStorageClassAnnotation), newClass, apivalidation.FieldImmutableErrorMsg)
		}
		if named && (!annotated || *s.StorageClassName == oldClass) {
			s.StorageClassName = was.StorageClassName // may be set later
		}
	}
	if o.Status.Phase == corev1.ClaimBound {
		if s.Resources.Requests != nil {
			s.Resources.Requests[corev1.ResourceStorage] = before.Resources.Requests[corev1.ResourceStorage]
		}
		s.VolumeAttributesClassName = was.VolumeAttributesClassName
	}
	if !equality.Semantic.DeepEqual(*s, *was) {
		l.Forbidden(specPath, fmt.Sprintf("spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v",
			diff.Diff(*was, *s)))
	}
}

// claimSize lets a claim shrink no further than to what it got.
func claimSize(l *check.List, o, old *corev1.PersistentVolumeClaim) {
	now, was := o.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	if now.Cmp(was) < 0 && now.Cmp(old.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		l.Forbidden(specPath.Child("resources", "requests", "storage"), "field can not be less than status.capacity")
	}
}

func validateClaimStatus(o, old *corev1.PersistentVolumeClaim) field.ErrorList {
	var l check.List
	if len(o.Spec.AccessModes) == 0 {
		l.Required(field.NewPath("Spec", "accessModes"), "")
	}
	path, s := field.NewPath("status"), &o.Status
	for _, name := range slices.Sorted(maps.Keys(s.Capacity)) {
		validQuantity(&l, path.Child("capacity"), name, s.Capacity)
	}
	resizing(&l, path.Child("allocatedResourceStatuses"), s.AllocatedResourceStatuses)
	for _, name := range slices.Sorted(maps.Keys(s.AllocatedResources)) {
		if p := path.Child("allocatedResources"); claimResource(&l, p, name) {
			validQuantity(&l, p, name, s.AllocatedResources)
		}
	}
	return l.Errors()
}

func validQuantity(l *check.List, path *field.Path, name corev1.ResourceName, list corev1.ResourceList) {
	q := list[name]
	switch path := path.Key(string(name)); {
	case q.Value() < 0:
		l.Invalid(path, q.Value(), "must be a valid resource quantity")
	case q.Sign() < 0:
		l.Invalid(path, q.String(), "must be greater than or equal to 0")
	}
}

func resizing(l *check.List, path *field.Path, statuses map[corev1.ResourceName]corev1.ClaimResourceStatus) {
	known := []corev1.ClaimResourceStatus{
		corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
		corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible,
	}
	slices.Sort(known)
	for _, name := range slices.Sorted(maps.Keys(statuses)) {
		claimResource(l, path, name)
		if !slices.Contains(known, statuses[name]) {
			l.Add(field.NotSupported(path, corev1.ClaimResourceStatus(name), known))
		}
	}
}

// claimResource asks for the name of something that a claim can have: storage, or a resource with a
// prefix of its own. It tells whether the name is right.
func claimResource(l *check.List, path *field.Path, name corev1.ResourceName) bool {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		l.Messages(path, name, messages)
		return false
	}
	if check.IsNative(name) && name != corev1.ResourceStorage {
		l.Add(field.NotSupported(path, name, []corev1.ResourceName{corev1.ResourceStorage}))
		return false
	}
	return true
}
