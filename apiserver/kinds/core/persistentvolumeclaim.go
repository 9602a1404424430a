package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// PersistentVolumeClaim returns the row of PersistentVolumeClaim.
func PersistentVolumeClaim() apiserver.Kind {
	k := newKind("PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", "pvc")
	k.Status = true
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaimList{}
	k.Default = row.Of(func(o *corev1.PersistentVolumeClaim) {
		fill.Empty(&o.Status.Phase, corev1.ClaimPending)
		podspec.DefaultClaimSpec(&o.Spec)
		podspec.RoundResources(o.Status.Capacity)
		podspec.RoundResources(o.Status.AllocatedResources)
	})
	k.Prepare = row.Pair(prepareClaim)
	k.PrepareStatus = row.Pair(func(o, old *corev1.PersistentVolumeClaim) {
		if old.Status.HealthStatus == nil {
			o.Status.HealthStatus = nil // off in Kubernetes by default
		}
	})
	k.Validate = row.Check(validateClaim)
	k.ValidateStatus = row.Check(validateClaimStatus)
	k.Warnings = row.Warn(claimWarnings)
	k.Columns = row.Columns("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age", "VolumeMode::wide")
	k.Row = row.Cells(claimRow)
	return k
}

func prepareClaim(o, old *corev1.PersistentVolumeClaim) {
	s := &o.Spec
	if old == nil {
		o.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	}
	// Data from another namespace is off in Kubernetes by default.
	if r := s.DataSourceRef; r != nil && ptr.Deref(r.Namespace, "") != "" && (old == nil || old.Spec.DataSourceRef == nil) {
		s.DataSourceRef = nil
	}
	// The older of the two fields forgets, without a word, what it was not made for.
	if inUse := old != nil && (old.Spec.DataSource != nil || old.Spec.DataSourceRef != nil); !inUse && s.DataSourceRef == nil && !isOldSource(s.DataSource) {
		s.DataSource = nil
	}
	pairSources(s)
}

// isOldSource tells whether d is a claim or a snapshot of a volume.
func isOldSource(d *corev1.TypedLocalObjectReference) bool {
	if d == nil {
		return false
	}
	group := ptr.Deref(d.APIGroup, "")
	return d.Kind == "PersistentVolumeClaim" && group == "" || d.Kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io"
}

// pairSources makes the older and the newer field say the same.
func pairSources(s *corev1.PersistentVolumeClaimSpec) {
	switch d, r := s.DataSource, s.DataSourceRef; {
	case d != nil && r == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: clonePointer(d.APIGroup), Kind: d.Kind, Name: d.Name}
	case r != nil && d == nil && ptr.Deref(r.Namespace, "") == "":
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: clonePointer(r.APIGroup), Kind: r.Kind, Name: r.Name}
	}
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func claimRow(o *corev1.PersistentVolumeClaim, now time.Time) []any {
	capacity, modes := "", ""
	if o.Spec.VolumeName != "" {
		size := o.Status.Capacity[corev1.ResourceStorage]
		capacity, modes = size.String(), accessModes(o.Status.AccessModes)
	}
	class, ok := o.Annotations[corev1.BetaStorageClassAnnotation]
	if !ok {
		class = ptr.Deref(o.Spec.StorageClassName, "")
	}
	return []any{o.Name, phase(string(o.Status.Phase), o.DeletionTimestamp), o.Spec.VolumeName, capacity, modes, class,
		ptr.Deref(o.Spec.VolumeAttributesClassName, unset), row.Age(o.CreationTimestamp, now), string(ptr.Deref(o.Spec.VolumeMode, unset))}
}
