package storage

import (
	"math"
	"time"
	"unicode/utf8"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// VolumeAttachment returns the row of VolumeAttachment.
func VolumeAttachment() apiserver.Kind {
	k := newKind("VolumeAttachment", "volumeattachments", "volumeattachment")
	k.Object, k.List = &storagev1.VolumeAttachment{}, &storagev1.VolumeAttachmentList{}
	k.ConditionalUpdate = true
	k.Status = true
	k.StatusResets = []string{"metadata"}
	k.PrepareStatus = row.Pair(func(o, old *storagev1.VolumeAttachment) { o.Labels, o.Annotations = old.Labels, old.Annotations })
	k.Default = row.Of(func(o *storagev1.VolumeAttachment) {
		if s := o.Spec.Source.InlineVolumeSpec; s != nil {
			podspec.DefaultVolumeSpec(s)
		}
	})
	k.Validate = row.Check(validateAttachment)
	k.ValidateStatus = row.Check(validateAttachment)
	k.Columns = row.Columns("Name", "Attacher", "PV", "Node", "Attached:boolean", "Age")
	k.Columns[1].Format = "name"
	k.Row = row.Cells(func(o *storagev1.VolumeAttachment, now time.Time) []any {
		return []any{o.Name, o.Spec.Attacher, ptr.Deref(o.Spec.Source.PersistentVolumeName, ""), o.Spec.NodeName, o.Status.Attached,
			row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateAttachment(o, old *storagev1.VolumeAttachment) field.ErrorList {
	var l check.List
	s := &o.Spec
	if old == nil {
		attacher(&l, specPath.Child("attacher"), s.Attacher)
	} else {
		l.CSIDriver(specPath.Child("attacher"), s.Attacher) // a changed one is refused before the declared rules
	}
	attachmentSource(&l, specPath.Child("source"), &s.Source)
	l.Subdomain(specPath.Child("nodeName"), s.NodeName)
	attachmentStatus(&l, field.NewPath("status"), &o.Status)
	if name := s.Source.PersistentVolumeName; name != nil {
		l.Subdomain(field.NewPath("spec.source.persistentVolumeName"), *name)
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Spec, old.Spec, specPath)...)
	}
	return l.Errors()
}

// attacher asks for the name of a CSI driver in the words of the API's declared rules, which are not
// those of other places with such a name.
func attacher(l *check.List, path *field.Path, name string) {
	if name == "" {
		l.Required(path, "")
		return
	}
	if utf8.RuneCountInString(name) > validation.DNS1123LabelMaxLength {
		l.Add(field.TooLongCharacters(path, "", validation.DNS1123LabelMaxLength))
	}
	//lint:ignore SA1019 Kubernetes takes capitals in the names of drivers, and so must we.
	l.Messages(path, name, content.IsDNS1123SubdomainCaseless(name))
}

func attachmentSource(l *check.List, path *field.Path, s *storagev1.VolumeAttachmentSource) {
	const exactlyOne = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
	switch name, inline := s.PersistentVolumeName, s.InlineVolumeSpec; {
	case name == nil && inline == nil:
		l.Required(path, exactlyOne)
	case name != nil && inline != nil:
		l.Forbidden(path, exactlyOne)
	case name != nil:
		if *name == "" {
			l.Required(path.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")
		}
	default:
		l.Add(podspec.ValidateInlineVolume(inline, path.Child("inlineVolumeSpec"))...)
	}
}

func attachmentStatus(l *check.List, path *field.Path, s *storagev1.VolumeAttachmentStatus) {
	size := 0
	for k, v := range s.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > maxAttachmentBytes {
		l.Add(field.TooLong(path.Child("attachmentMetadata"), "", maxAttachmentBytes))
	}
	volumeError(l, path.Child("attachError"), s.AttachError)
	volumeError(l, path.Child("detachError"), s.DetachError)
}

func volumeError(l *check.List, path *field.Path, e *storagev1.VolumeError) {
	if e == nil {
		return
	}
	if len(e.Message) > maxErrorMessage {
		l.Add(field.TooLong(path.Child("message"), "", maxErrorMessage))
	}
	if e.ErrorCode != nil && *e.ErrorCode < 0 {
		l.Invalid(path.Child("errorCode"), *e.ErrorCode, validation.InclusiveRangeError(0, math.MaxInt32))
	}
}
