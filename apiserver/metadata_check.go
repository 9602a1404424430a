package apiserver

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/plain"
)

// Apimachinery checks metadata with regular expressions, and makes a path for each field whatever is in it. What is
// plainly valid is told so by a scan, and all else is left to it: see TestPlainMetadata.

// checkMetadata returns what is wrong with an object's metadata.
func checkMetadata(obj client.Object, namespaced bool, name validation.ValidateNameFunc) field.ErrorList {
	if plainMetadata(obj, namespaced) && len(name(obj.GetName(), false)) == 0 {
		return nil
	}
	return validation.ValidateObjectMetaAccessor(obj, namespaced, name, metadataPath)
}

// checkMetadataUpdate returns what is wrong with an update of an object's metadata.
func checkMetadataUpdate(obj, old client.Object, namespaced bool) field.ErrorList {
	if plainMetadata(obj, namespaced) && plainUpdate(obj, old) {
		return nil
	}
	return validation.ValidateObjectMetaAccessorUpdate(obj, old, metadataPath)
}

// nameIsDNSSubdomain is the rule for names of most kinds.
func nameIsDNSSubdomain(name string, prefix bool) []string {
	if plain.Subdomain(name) {
		return nil
	}
	return validation.NameIsDNSSubdomain(name, prefix)
}

// maxPlainAnnotations is the size of annotations, in bytes, that needs no second look.
const maxPlainAnnotations = 64 << 10

// plainMetadata tells that nothing is wrong with metadata but perhaps the name.
func plainMetadata(obj client.Object, namespaced bool) bool {
	if obj.GetName() == "" || obj.GetGenerateName() != "" || obj.GetGeneration() < 0 ||
		len(obj.GetOwnerReferences()) > 0 || len(obj.GetFinalizers()) > 0 {
		return false
	}
	if namespace := obj.GetNamespace(); namespaced && !plain.Label(namespace) || !namespaced && namespace != "" {
		return false
	}
	for key, value := range obj.GetLabels() {
		if !plain.LabelKey(key) || !plain.LabelValue(value) {
			return false
		}
	}
	size := 0
	for key, value := range obj.GetAnnotations() {
		if size += len(key) + len(value); size > maxPlainAnnotations || !plain.LabelKey(strings.ToLower(key)) {
			return false
		}
	}
	for i := range obj.GetManagedFields() {
		if !plainEntry(&obj.GetManagedFields()[i]) {
			return false
		}
	}
	return true
}

func plainEntry(e *metav1.ManagedFieldsEntry) bool {
	if e.Operation != metav1.ManagedFieldsOperationApply && e.Operation != metav1.ManagedFieldsOperationUpdate ||
		e.FieldsType != "" && e.FieldsType != "FieldsV1" || len(e.Manager) > 128 || len(e.Subresource) > 64 {
		return false
	}
	for i := range len(e.Manager) {
		if c := e.Manager[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// plainUpdate tells that all stays that must.
func plainUpdate(obj, old client.Object) bool {
	created, before := obj.GetCreationTimestamp(), old.GetCreationTimestamp()
	return old.GetDeletionTimestamp() == nil && obj.GetDeletionTimestamp() == nil &&
		old.GetDeletionGracePeriodSeconds() == nil && obj.GetDeletionGracePeriodSeconds() == nil &&
		obj.GetResourceVersion() != "" && obj.GetGeneration() >= old.GetGeneration() &&
		obj.GetName() == old.GetName() && obj.GetNamespace() == old.GetNamespace() && obj.GetUID() == old.GetUID() &&
		created.Equal(&before)
}
