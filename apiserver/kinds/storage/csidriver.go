package storage

import (
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// CSIDriver returns the row of CSIDriver.
func CSIDriver() apiserver.Kind {
	k := newKind("CSIDriver", "csidrivers", "csidriver")
	k.Object, k.List = &storagev1.CSIDriver{}, &storagev1.CSIDriverList{}
	k.ConditionalUpdate = true
	k.Generation = true
	k.Default = row.Of(defaultDriver)
	k.Prepare = row.Pair(func(o, old *storagev1.CSIDriver) {
		if old == nil {
			o.Generation = 0 // counted from the first change on
		}
	})
	k.Validate = row.Check(validateDriver)
	k.Warnings = row.Warn(driverWarnings)
	k.Columns = row.Columns("Name", "AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean", "TokenRequests",
		"RequiresRepublish:boolean", "Modes", "Age")
	k.Row = row.Cells(driverRow)
	return k
}

func defaultDriver(o *storagev1.CSIDriver) {
	s := &o.Spec
	fill.Nil(&s.AttachRequired, true)
	fill.Nil(&s.PodInfoOnMount, false)
	fill.Nil(&s.StorageCapacity, false)
	fill.Nil(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
	fill.Nil(&s.RequiresRepublish, false)
	fill.Nil(&s.SELinuxMount, false)
	fill.Nil(&s.PreventPodSchedulingIfMissing, false)
}

func validateDriver(o, old *storagev1.CSIDriver) field.ErrorList {
	var l check.List
	s := &o.Spec
	for _, f := range []struct {
		name  string
		value *bool
	}{{"attachedRequired", s.AttachRequired}, {"podInfoOnMount", s.PodInfoOnMount}, {"storageCapacity", s.StorageCapacity},
		{"seLinuxMount", s.SELinuxMount}, {"preventPodSchedulingIfMissing", s.PreventPodSchedulingIfMissing}} {
		if f.value == nil {
			l.Required(specPath.Child(f.name), "")
		}
	}
	if s.FSGroupPolicy != nil {
		check.Supported(&l, specPath.Child("fsGroupPolicy"), *s.FSGroupPolicy,
			storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	}
	tokenRequests(&l, specPath.Child("tokenRequests"), s.TokenRequests)
	for _, m := range s.VolumeLifecycleModes {
		check.Supported(&l, specPath.Child("volumeLifecycleModes"), m, storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral)
	}
	if p := s.NodeAllocatableUpdatePeriodSeconds; p != nil && *p < 10 {
		l.Invalid(specPath.Child("nodeAllocatableUpdatePeriodSeconds"), *p, "must be greater than or equal to 10 seconds")
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		l.Invalid(specPath.Child("serviceAccountTokenInSecrets"), s.ServiceAccountTokenInSecrets,
			"serviceAccountTokenInSecrets is set but no tokenRequests are specified")
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(s.AttachRequired, old.Spec.AttachRequired, specPath.Child("attachedRequired"))...)
		l.Add(apivalidation.ValidateImmutableField(s.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, specPath.Child("volumeLifecycleModes"))...)
	}
	return l.Errors()
}

func tokenRequests(l *check.List, path *field.Path, list []storagev1.TokenRequest) {
	const shortest, longest = 600, 1 << 32 // seconds
	audiences := map[string]bool{}
	for i, t := range list {
		p := path.Index(i)
		if audiences[t.Audience] {
			l.Add(field.Duplicate(p.Child("audience"), t.Audience))
			continue
		}
		audiences[t.Audience] = true
		switch d := t.ExpirationSeconds; {
		case d == nil:
		case *d < shortest:
			l.Invalid(p.Child("expirationSeconds"), *d, "may not specify a duration less than 10 minutes")
		case *d > longest:
			l.Invalid(p.Child("expirationSeconds"), *d, "may not specify a duration larger than 2^32 seconds")
		}
	}
}

func driverWarnings(o, old *storagev1.CSIDriver) []string {
	changed := old == nil || !equality.Semantic.DeepEqual(old.Spec.TokenRequests, o.Spec.TokenRequests)
	if !changed || len(o.Spec.TokenRequests) == 0 || o.Spec.ServiceAccountTokenInSecrets != nil {
		return nil
	}
	return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
}

func driverRow(o *storagev1.CSIDriver, now time.Time) []any {
	s := &o.Spec
	modes, audiences := make([]string, len(s.VolumeLifecycleModes)), make([]string, len(s.TokenRequests))
	for i, m := range s.VolumeLifecycleModes {
		modes[i] = string(m)
	}
	for i, t := range s.TokenRequests {
		audiences[i] = t.Audience
	}
	tokens := "<unset>"
	if s.TokenRequests != nil {
		tokens = strings.Join(audiences, ",")
	}
	return []any{o.Name, ptr.Deref(s.AttachRequired, true), ptr.Deref(s.PodInfoOnMount, false), ptr.Deref(s.StorageCapacity, false),
		tokens, ptr.Deref(s.RequiresRepublish, false), row.None(strings.Join(modes, ",")), row.Age(o.CreationTimestamp, now)}
}
