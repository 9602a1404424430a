package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// PersistentVolume returns the row of PersistentVolume.
func PersistentVolume() apiserver.Kind {
	k := newKind("PersistentVolume", "persistentvolumes", "persistentvolume", "pv")
	k.Namespaced = false
	k.Status = true
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.PersistentVolume{}, &corev1.PersistentVolumeList{}
	k.Default = row.Of(func(o *corev1.PersistentVolume) {
		fill.Empty(&o.Status.Phase, corev1.VolumePending)
		fill.Empty(&o.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
		fill.Nil(&o.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
		podspec.DefaultVolumeSpec(&o.Spec)
	})
	k.Prepare = row.Pair(func(o, old *corev1.PersistentVolume) {
		if old == nil {
			since := o.CreationTimestamp
			o.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: &since}
		}
	})
	k.PrepareStatus = row.Pair(keepTransition)
	k.Validate = row.Check(validateVolume)
	k.Warnings = row.Warn(volumeWarnings)
	k.Columns = row.Columns("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
		"VolumeAttributesClass", "Reason", "Age", "VolumeMode::wide")
	k.Row = row.Cells(volumeRow)
	return k
}

// keepTransition notes when a volume's phase changed, where the writer did not.
func keepTransition(o, old *corev1.PersistentVolume) {
	now, was := o.Status.LastPhaseTransitionTime, old.Status.LastPhaseTransitionTime
	switch {
	case o.Status.Phase == old.Status.Phase:
		if now == nil {
			o.Status.LastPhaseTransitionTime = was.DeepCopy()
		}
	case now == nil || now.Equal(was):
		// A write to the status is an operation: it happens now.
		o.Status.LastPhaseTransitionTime = ptr.To(metav1.Now())
	}
}

func validateVolume(o, old *corev1.PersistentVolume) field.ErrorList {
	lenient := old != nil && old.Spec.NodeAffinity != nil && old.Spec.NodeAffinity.Required != nil && hasOddValues(old.Spec.NodeAffinity.Required)
	l := check.List(podspec.ValidateVolumeSpec(&o.Spec, lenient, specPath))
	mountOptions(&l, o)
	if old != nil {
		volumeStays(&l, o, old)
	}
	return l.Errors()
}

// hasOddValues tells whether a selector has values that labels can't have.
func hasOddValues(s *corev1.NodeSelector) bool {
	for _, t := range s.NodeSelectorTerms {
		for _, r := range t.MatchExpressions {
			var l check.List
			for _, v := range r.Values {
				l.LabelValue(nil, v)
			}
			if len(l) > 0 {
				return true
			}
		}
	}
	return false
}

// mountOptions refuses the older way to give mount options, by an annotation, to volumes that have none.
func mountOptions(l *check.List, o *corev1.PersistentVolume) {
	s := &o.Spec
	mountable := s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil ||
		s.Quobyte != nil || s.ISCSI != nil || s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil || s.VsphereVolume != nil ||
		s.AzureDisk != nil || s.PhotonPersistentDisk != nil
	if _, ok := o.Annotations[corev1.MountOptionAnnotation]; ok && !mountable {
		l.Forbidden(field.NewPath("metadata", "annotations", corev1.MountOptionAnnotation), "may not specify mount options for this volume type")
	}
}

func volumeStays(l *check.List, o, old *corev1.PersistentVolume) {
	source := o.Spec.PersistentVolumeSource
	if now, was := source.CSI, old.Spec.CSI; was != nil && was.ControllerExpandSecretRef == nil && now != nil && now.ControllerExpandSecretRef != nil {
		source.CSI = now.DeepCopy()
		source.CSI.ControllerExpandSecretRef = nil // may be set later
	}
	if !equality.Semantic.DeepEqual(source, old.Spec.PersistentVolumeSource) {
		l.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(old.Spec.PersistentVolumeSource, source)))
	}
	l.Add(apivalidation.ValidateImmutableField(o.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	affinityStays(l, o.Spec.NodeAffinity, old.Spec.NodeAffinity)
	if old.Spec.VolumeAttributesClassName != nil && o.Spec.VolumeAttributesClassName == nil {
		l.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden")
	}
}

// grownUp are labels of nodes by their older names.
var grownUp = map[string]string{
	corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
	corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
	"beta.kubernetes.io/os":             corev1.LabelOSStable,
	"beta.kubernetes.io/arch":           corev1.LabelArchStable,
	corev1.LabelInstanceType:            corev1.LabelInstanceTypeStable,
}

// affinityStays refuses changes of where a volume can be used, but for labels that got a new name.
func affinityStays(l *check.List, now, before *corev1.VolumeNodeAffinity) {
	if before == nil {
		return
	}
	was := before.DeepCopy()
	if now != nil && now.Required != nil && was.Required != nil && len(now.Required.NodeSelectorTerms) == len(was.Required.NodeSelectorTerms) {
		for i := range was.Required.NodeSelectorTerms {
			rename(was.Required.NodeSelectorTerms[i].MatchExpressions, now.Required.NodeSelectorTerms[i].MatchExpressions)
		}
	}
	if !equality.Semantic.DeepEqual(now, was) {
		l.Invalid(field.NewPath("nodeAffinity"), now, apivalidation.FieldImmutableErrorMsg+", except for updating from beta label to GA")
	}
}

func rename(was, now []corev1.NodeSelectorRequirement) {
	for i := range was {
		if i < len(now) && now[i].Key == grownUp[was[i].Key] {
			was[i].Key = now[i].Key
		}
	}
}

func volumeRow(o *corev1.PersistentVolume, now time.Time) []any {
	claim := ""
	if r := o.Spec.ClaimRef; r != nil {
		claim = r.Namespace + "/" + r.Name
	}
	size := o.Spec.Capacity[corev1.ResourceStorage]
	class, ok := o.Annotations[corev1.BetaStorageClassAnnotation]
	if !ok {
		class = o.Spec.StorageClassName
	}
	return []any{o.Name, size.String(), accessModes(o.Spec.AccessModes), string(o.Spec.PersistentVolumeReclaimPolicy),
		phase(string(o.Status.Phase), o.DeletionTimestamp), claim, class, ptr.Deref(o.Spec.VolumeAttributesClassName, unset),
		o.Status.Reason, row.Age(o.CreationTimestamp, now), string(ptr.Deref(o.Spec.VolumeMode, unset))}
}

const unset = "<unset>"

func phase(p string, deleted *metav1.Time) string {
	if deleted != nil {
		return "Terminating"
	}
	return p
}

// accessModes abbreviates modes as kubectl prints them: "RWO,ROX".
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var out []string
	for _, m := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"}} {
		if slices.Contains(modes, m.mode) {
			out = append(out, m.short)
		}
	}
	return strings.Join(out, ",")
}
