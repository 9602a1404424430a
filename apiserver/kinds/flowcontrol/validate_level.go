package flowcontrol

import (
	"fmt"
	"math"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	maxQueues = 10_000_000
	// maxHashBits is how many bits of a flow's hash are good for choosing its hand of queues.
	maxHashBits = 60
	// preserveZero is an annotation that only older versions use.
	preserveZero = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
)

func validateLevel(o, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	var l check.List
	if _, ok := o.Annotations[preserveZero]; ok {
		l.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", preserveZero))
	}
	levelSpec(&l, o.Name, &o.Spec)
	fixed, ok := fixedLevels()[o.Name]
	switch {
	case !ok:
	case o.Name == exempt:
		spec := o.Spec
		spec.Exempt = fixed.Exempt
		if !equality.Semantic.DeepEqual(fixed, spec) {
			l.Invalid(specPath, o.Spec, fmt.Sprintf("spec of '%s' except the 'spec.exempt' field must equal the fixed value", o.Name))
		}
	case !equality.Semantic.DeepEqual(fixed, o.Spec):
		l.Invalid(specPath, o.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", o.Name))
	}
	l.Add(levelStatus(o)...)
	return l.Errors()
}

func levelSpec(l *check.List, name string, s *flowcontrolv1.PriorityLevelConfigurationSpec) {
	if (name == exempt) != (s.Type == flowcontrolv1.PriorityLevelEnablementExempt) {
		l.Invalid(specPath.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'")
	}
	check.Enum(l, specPath.Child("type"), s.Type, flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited)
	if s.Exempt != nil {
		if s.Type == flowcontrolv1.PriorityLevelEnablementExempt {
			shares(l, specPath.Child("exempt"), s.Exempt.NominalConcurrencyShares, s.Exempt.LendablePercent)
		} else {
			l.Forbidden(specPath.Child("exempt"), "")
		}
	}
	limited := specPath.Child("limited")
	switch isLimited := s.Type == flowcontrolv1.PriorityLevelEnablementLimited; {
	case s.Limited == nil && isLimited:
		l.Required(limited, "")
	case s.Limited != nil && !isLimited:
		l.Forbidden(limited, "")
		responseShape(l, limited.Child("limitResponse"), &s.Limited.LimitResponse)
	case s.Limited != nil:
		shares(l, limited, s.Limited.NominalConcurrencyShares, s.Limited.LendablePercent)
		response(l, limited.Child("limitResponse"), &s.Limited.LimitResponse)
		if b := s.Limited.BorrowingLimitPercent; b != nil && *b < 0 {
			l.Invalid(limited.Child("borrowingLimitPercent"), *b, "if specified, must be a non-negative integer")
		}
	}
}

func shares(l *check.List, p *field.Path, n, lendable *int32) {
	if n != nil && *n < 0 {
		l.Invalid(p.Child("nominalConcurrencyShares"), *n, "must be a non-negative integer")
	}
	if lendable != nil && (*lendable < 0 || *lendable > 100) {
		l.Invalid(p.Child("lendablePercent"), *lendable, "must be between 0 and 100, inclusive")
	}
}

func response(l *check.List, p *field.Path, r *flowcontrolv1.LimitResponse) {
	responseShape(l, p, r)
	if r.Type != "" {
		check.Supported(l, p.Child("type"), r.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)
	}
	if r.Queuing != nil && r.Type == flowcontrolv1.LimitResponseTypeQueue {
		queuing(l, p.Child("queuing"), r.Queuing)
	}
}

// responseShape holds what the API declares of a response, which is asked for even where none may be.
func responseShape(l *check.List, p *field.Path, r *flowcontrolv1.LimitResponse) {
	if r.Type == "" {
		l.Required(p.Child("type"), "")
	}
	switch queues := r.Type == flowcontrolv1.LimitResponseTypeQueue; {
	case r.Queuing == nil && queues:
		l.Required(p.Child("queuing"), "")
	case r.Queuing != nil && !queues:
		l.Forbidden(p.Child("queuing"), "")
	}
}

func queuing(l *check.List, p *field.Path, q *flowcontrolv1.QueuingConfiguration) {
	const positive = "must be positive"
	if q.QueueLengthLimit <= 0 {
		l.Invalid(p.Child("queueLengthLimit"), q.QueueLengthLimit, positive)
	}
	switch {
	case q.Queues <= 0:
		l.Invalid(p.Child("queues"), q.Queues, positive)
	case q.Queues > maxQueues:
		l.Invalid(p.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues))
	}
	hand := p.Child("handSize")
	bits := int(math.Ceil(math.Log2(float64(q.Queues)) * float64(q.HandSize)))
	switch {
	case q.HandSize <= 0:
		l.Invalid(hand, q.HandSize, positive)
	case q.HandSize > q.Queues:
		l.Invalid(hand, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues))
	case bits > maxHashBits:
		l.Invalid(hand, q.HandSize, fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d",
			q.Queues, q.HandSize, maxHashBits))
	}
}

func levelStatus(o *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	types := make([]string, len(o.Status.Conditions))
	for i, c := range o.Status.Conditions {
		types[i] = string(c.Type)
	}
	return conditions(types)
}
