package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver/client"
)

// Watches implements Watcher.
func (VolumeBinding) Watches() []client.Object {
	return []client.Object{
		&corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}, &storagev1.StorageClass{},
		&storagev1.CSINode{}, &storagev1.CSIDriver{}, &storagev1.CSIStorageCapacity{},
	}
}

// Watches implements Watcher.
func (VolumeZone) Watches() []client.Object {
	return []client.Object{&corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}, &storagev1.StorageClass{}}
}

// Watches implements Watcher.
func (VolumeRestrictions) Watches() []client.Object {
	return []client.Object{&corev1.PersistentVolumeClaim{}}
}

// Watches implements Watcher.
func (NodeVolumeLimits) Watches() []client.Object {
	return []client.Object{
		&corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}, &storagev1.StorageClass{},
		&storagev1.CSINode{}, &storagev1.CSIDriver{}, &storagev1.VolumeAttachment{},
	}
}

// Helps implements EventHinter.
func (VolumeBinding) Helps(pod *PodInfo, e *Event) bool {
	switch e.Kind {
	case NodeAdded:
		return true
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels)
	case ObjectRemoved:
		// Without its driver's record a class has no shortage of storage.
		_, ok := removedObject[*storagev1.CSIDriver](e)
		return ok
	}
	if old, now, ok := changedObject[*corev1.PersistentVolume](e); ok {
		return volumeHelps(pod, old, now)
	}
	if _, now, ok := changedObject[*corev1.PersistentVolumeClaim](e); ok {
		return pod.volumes.names(now, pod.Pod)
	}
	if old, now, ok := changedObject[*storagev1.StorageClass](e); ok {
		return old == nil || !equality.Semantic.DeepEqual(old.AllowedTopologies, now.AllowedTopologies)
	}
	if old, now, ok := changedObject[*storagev1.CSINode](e); ok {
		const key = corev1.MigratedPluginsAnnotationKey
		return old == nil || old.Annotations[key] != now.Annotations[key]
	}
	if old, now, ok := changedObject[*storagev1.CSIDriver](e); ok {
		return old != nil && valueOf(old.Spec.StorageCapacity) && !valueOf(now.Spec.StorageCapacity)
	}
	if old, now, ok := changedObject[*storagev1.CSIStorageCapacity](e); ok {
		return old == nil || capacityGrew(old, now)
	}
	return false
}

// volumeHelps: a volume that is reserved for the claim of another pod is of no use; nor is a change that no
// decision looks at.
func volumeHelps(pod *PodInfo, old, now *corev1.PersistentVolume) bool {
	if ref := now.Spec.ClaimRef; ref != nil {
		claim := &corev1.PersistentVolumeClaim{}
		if claim.Namespace, claim.Name = ref.Namespace, ref.Name; !pod.volumes.names(claim, pod.Pod) {
			return false
		}
	}
	return old == nil || old.Status.Phase != now.Status.Phase || !sameLabels(old.Labels, now.Labels) ||
		!sameLabels(old.Annotations, now.Annotations) || !equality.Semantic.DeepEqual(old.Spec, now.Spec)
}

func capacityGrew(old, now *storagev1.CSIStorageCapacity) bool {
	before, after := capacityLimit(old), capacityLimit(now)
	return after != nil && (before == nil || after.Value() > before.Value())
}
