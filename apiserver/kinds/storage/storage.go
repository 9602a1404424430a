// Package storage has the rows of the kinds of storage.k8s.io/v1: StorageClass,
// VolumeAttributesClass, CSIDriver, CSINode, CSIStorageCapacity and VolumeAttachment.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{
		CSIDriver(), CSINode(), CSIStorageCapacity(), StorageClass(), VolumeAttachment(), VolumeAttributesClass(),
	}
}

var specPath = field.NewPath("spec")

func newKind(kind, resource, singular string, shortNames ...string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    storagev1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		ShortNames:          shortNames,
		ReturnDeleted:       true,
	}
}
