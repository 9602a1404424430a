package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func validateLease(o, _ *coordinationv1.Lease) field.ErrorList {
	var l check.List
	s, path := &o.Spec, field.NewPath("spec")
	if d := s.LeaseDurationSeconds; d != nil && *d <= 0 {
		l.Invalid(path.Child("leaseDurationSeconds"), d, "must be greater than 0")
	}
	if n := s.LeaseTransitions; n != nil && *n < 0 {
		l.Invalid(path.Child("leaseTransitions"), n, "must be greater than or equal to 0")
	}
	strategy := ptr.Deref(s.Strategy, "")
	if s.Strategy != nil {
		check.Supported(&l, path.Child("strategy"), strategy, coordinationv1.OldestEmulationVersion)
	}
	if ptr.Deref(s.PreferredHolder, "") != "" && strategy == "" {
		l.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined")
	}
	return l.Errors()
}
