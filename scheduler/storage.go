package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// What the volume plugins look up in a snapshot. Lists are sorted by name: where several objects would do, the
// same one is chosen every time.

func (s *Snapshot) claim(namespace, name string) *corev1.PersistentVolumeClaim {
	c, _ := Object[*corev1.PersistentVolumeClaim](s, namespace, name)
	return c
}

func (s *Snapshot) volume(name string) *corev1.PersistentVolume {
	v, _ := Object[*corev1.PersistentVolume](s, "", name)
	return v
}

func (s *Snapshot) storageClass(name string) *storagev1.StorageClass {
	c, _ := Object[*storagev1.StorageClass](s, "", name)
	return c
}

func (s *Snapshot) csiNode(name string) *storagev1.CSINode {
	n, _ := Object[*storagev1.CSINode](s, "", name)
	return n
}

func (s *Snapshot) csiDriver(name string) *storagev1.CSIDriver {
	d, _ := Object[*storagev1.CSIDriver](s, "", name)
	return d
}

// storageCapacities returns what drivers report about a class.
func (s *Snapshot) storageCapacities(class string) []*storagev1.CSIStorageCapacity {
	return sortedGroup[*storagev1.CSIStorageCapacity](s, class)
}

func (s *Snapshot) volumeAttachments(node string) []*storagev1.VolumeAttachment {
	return sortedGroup[*storagev1.VolumeAttachment](s, node)
}

// sortedGroup returns the objects that groupsOf has put together.
func sortedGroup[T client.Object](s *Snapshot, group string) []T {
	return slices.SortedFunc(Objects[T](s, group), func(a, b T) int {
		return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
	})
}

// addedObject returns the object of kind T that an event says is new.
func addedObject[T client.Object](e *Event) (T, bool) {
	obj, ok := e.Object.(T)
	return obj, ok && e.Kind == ObjectAdded
}

// changedObject returns an object of kind T that came, with the zero value as the old one, or changed.
func changedObject[T client.Object](e *Event) (old, now T, ok bool) {
	if e.Kind != ObjectAdded && e.Kind != ObjectUpdated {
		return old, now, false
	}
	if now, ok = e.Object.(T); ok && e.Kind == ObjectUpdated {
		old, ok = e.OldObject.(T)
	}
	return old, now, ok
}
