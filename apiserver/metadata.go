package apiserver

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

var metadataPath = field.NewPath("metadata")

// timestamp returns the time as metadata keeps it: in seconds.
func (s *Server) timestamp() metav1.Time { return metav1.NewTime(time.Unix(s.now().Unix(), 0)) }

// nameValidator returns the row's rule for names.
func (r *resource) nameValidator() validation.ValidateNameFunc {
	if r.NameIsValid != nil {
		return r.NameIsValid
	}
	return nameIsDNSSubdomain
}

// clearMetadata clears the metadata of a new object that is not the client's to choose.
func clearMetadata(obj client.Object) {
	obj.SetUID("")
	obj.SetCreationTimestamp(metav1.Time{})
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
}

// pathSegment asks of a name that it fits a URL, which is all that is asked of one that is there already.
func pathSegment(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

// checkFinalizers tells of finalizers that should name a domain and do not.
func (r *resource) checkFinalizers(obj client.Object) field.ErrorList {
	var errs field.ErrorList
	if !r.QualifiedFinalizers {
		return nil
	}
	for i, name := range obj.GetFinalizers() {
		switch name {
		case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
			continue
		}
		if !strings.Contains(name, "/") {
			errs = append(errs, field.Invalid(metadataPath.Child("finalizers").Index(i), name,
				"name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// beginMetadata sets the metadata of a new object that is not the client's to choose, whatever admission made of it.
func (s *Server) beginMetadata(rq *request, obj client.Object) {
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(s.timestamp())
	if rq.res.Generation {
		obj.SetGeneration(1)
	}
}

// Names made from generateName end in five random characters and fit a label.
const (
	randomLength  = 5
	maxNameLength = 63
)

func generateName(base string) string {
	if max := maxNameLength - randomLength; len(base) > max {
		base = base[:max]
	}
	return base + utilrand.String(randomLength)
}

// keepMetadata makes an update keep the metadata that is not the client's to change. What it leaves as
// it is, validation compares with the old.
func keepMetadata(obj, old client.Object) {
	obj.SetGeneration(old.GetGeneration())
	obj.SetSelfLink(old.GetSelfLink())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	// A deletion can't be taken back.
	if old.GetDeletionTimestamp() != nil {
		obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	}
	if obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
}

// sameNamespace makes the object's namespace the request's.
func (rq *request) sameNamespace(obj client.Object) error {
	switch ns := obj.GetNamespace(); {
	case !rq.res.Namespaced:
		// Like kube-apiserver, forget a namespace where there are none.
		obj.SetNamespace("")
	case rq.ref.Namespace == "":
		return badRequest("an empty namespace may not be set during creation")
	case ns == "":
		obj.SetNamespace(rq.ref.Namespace)
	case ns != rq.ref.Namespace:
		return badRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// sameName makes the object's name the request's.
func (rq *request) sameName(obj client.Object) error {
	switch name := obj.GetName(); name {
	case "":
		return badRequest("the name of the object (%s based on URL) was undeterminable: name must be provided", rq.ref.Name)
	case rq.ref.Name:
		return nil
	default:
		return badRequest("the name of the object (%s) does not match the name on the URL (%s)", name, rq.ref.Name)
	}
}

// uidMismatch is the cause of a conflict about an update that was meant for another object.
func (rq *request) uidMismatch(got, want any) error {
	return fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: "+
		"Precondition failed: UID in precondition: %v, UID in object meta: %v", rq.key(), want, got)
}
