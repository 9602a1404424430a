package scheduler

import (
	"slices"

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

// EventsToRegister implements EnqueueExtensions.
func (VolumeBinding) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeUpdated, ObjectAdded, ObjectUpdated, ObjectRemoved}
}

// EventsToRegister implements EnqueueExtensions.
func (VolumeZone) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeUpdated, ObjectAdded, ObjectUpdated}
}

// EventsToRegister implements EnqueueExtensions.
func (VolumeRestrictions) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeRemoved, PodRemoved, ObjectAdded}
}

// EventsToRegister implements EnqueueExtensions.
func (NodeVolumeLimits) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, PodRemoved, ObjectAdded, ObjectUpdated, ObjectRemoved}
}

// Helps implements EventHinter.
func (VolumeBinding) Helps(pod *PodInfo, e *Event) bool {
	if pod.volumes == nil {
		return false
	}
	switch e.Kind {
	case NodeAdded:
		return true
	case NodeUpdated:
		return !sameLabels(e.OldNode.Labels, e.Node.Labels)
	case ObjectRemoved:
		return removalHelps(pod, e.OldObject)
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

// removalHelps: without its driver's record a class has no shortage of storage, without the node's one volumes
// are no longer translated, and a claim without the volume that was reserved for it may get another one.
func removalHelps(pod *PodInfo, obj client.Object) bool {
	switch x := obj.(type) {
	case *storagev1.CSIDriver, *storagev1.CSINode:
		return true
	case *corev1.PersistentVolume:
		return isReserved(x, pod) || mayBlock(x, pod)
	}
	return false
}

// mayBlock: of several claims the first one takes the best volume, be it the only one for another. So the end of
// a free volume may help.
func mayBlock(v *corev1.PersistentVolume, pod *PodInfo) bool {
	return v != nil && v.Spec.ClaimRef == nil && len(pod.volumes.claims) > 1
}

// isReserved tells whether a volume names a claim of the pod.
func isReserved(v *corev1.PersistentVolume, pod *PodInfo) bool {
	if v == nil || v.Spec.ClaimRef == nil {
		return false
	}
	ref := v.Spec.ClaimRef
	return ref.Namespace == pod.Pod.Namespace && slices.ContainsFunc(pod.volumes.claims, func(c podClaim) bool { return c.name == ref.Name })
}

// volumeHelps: a volume that is reserved for the claim of another pod is of no use; nor is a change that no
// decision looks at.
func volumeHelps(pod *PodInfo, old, now *corev1.PersistentVolume) bool {
	if now.Spec.ClaimRef != nil && !isReserved(now, pod) && !isReserved(old, pod) && !mayBlock(old, pod) {
		return false
	}
	return old == nil || old.Status.Phase != now.Status.Phase || !sameLabels(old.Labels, now.Labels) ||
		!sameLabels(old.Annotations, now.Annotations) || !equality.Semantic.DeepEqual(old.Spec, now.Spec) ||
		old.DeletionTimestamp.IsZero() != now.DeletionTimestamp.IsZero()
}

func capacityGrew(old, now *storagev1.CSIStorageCapacity) bool {
	before, after := capacityLimit(old), capacityLimit(now)
	return after != nil && (before == nil || after.Value() > before.Value())
}
