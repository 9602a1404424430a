package autoscaling

import (
	"errors"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// The longest times that scaling rules may look back, in seconds.
const (
	maxPeriod        = 1800
	maxStabilization = 3600
)

// references tells which apiVersions a reference may have.
type references struct{ anything, core bool }

func validate(o, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	var l check.List
	p, s := field.NewPath("spec"), &o.Spec
	if n := s.MinReplicas; n != nil {
		l.NonNegative(p.Child("minReplicas"), int64(*n))
	}
	switch n := s.MaxReplicas; {
	case n == 0:
		l.Required(p.Child("maxReplicas"), "")
	case n < 0:
		l.Invalid(p.Child("maxReplicas"), n, "must be greater than or equal to 1")
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		l.Invalid(p.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`")
	}
	targets, objects := references{}, references{core: true}
	switch {
	case old != nil && old.Spec.ScaleTargetRef.APIVersion == s.ScaleTargetRef.APIVersion && old.Spec.ScaleTargetRef.Kind == s.ScaleTargetRef.Kind:
		targets.anything = true
	case s.ScaleTargetRef.Kind == "ReplicationController":
		targets.core = true
	}
	if old != nil {
		objects.anything = slices.ContainsFunc(old.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
			return m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil && objects.check(&m.Object.DescribedObject) != nil
		})
	}
	reference(&l, p.Child("scaleTargetRef"), &s.ScaleTargetRef, targets)
	metrics(&l, p.Child("metrics"), s, objects)
	if b := s.Behavior; b != nil {
		scalingRules(&l, p.Child("behavior", "scaleUp"), b.ScaleUp)
		scalingRules(&l, p.Child("behavior", "scaleDown"), b.ScaleDown)
	}
	return l.Errors()
}

func validateStatus(o, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	var l check.List
	p := field.NewPath("status")
	for i := range o.Status.Conditions {
		if g := o.Status.Conditions[i].ObservedGeneration; g != nil {
			l.NonNegative(p.Child("conditions").Index(i).Child("observedGeneration"), *g)
		}
	}
	l.NonNegative(p.Child("currentReplicas"), int64(o.Status.CurrentReplicas))
	l.NonNegative(p.Child("desiredReplicas"), int64(o.Status.DesiredReplicas))
	return l.Errors()
}

func (r references) check(ref *autoscalingv2.CrossVersionObjectReference) error {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	switch {
	case r.anything:
		return nil
	case err != nil:
		return err
	case gv.Group == "" && !r.core:
		return errors.New("apiVersion must specify API group")
	}
	return nil
}

func reference(l *check.List, p *field.Path, ref *autoscalingv2.CrossVersionObjectReference, r references) {
	for _, f := range []struct{ name, value string }{{"kind", ref.Kind}, {"name", ref.Name}} {
		if f.value == "" {
			l.Required(p.Child(f.name), "")
			continue
		}
		l.Messages(p.Child(f.name), f.value, content.IsPathSegmentName(f.value))
	}
	if err := r.check(ref); err != nil {
		l.Invalid(p.Child("apiVersion"), ref.APIVersion, err.Error())
	}
}

func scalingRules(l *check.List, p *field.Path, r *autoscalingv2.HPAScalingRules) {
	if r == nil {
		return
	}
	if s := r.StabilizationWindowSeconds; s != nil {
		if *s < 0 {
			l.Invalid(p.Child("stabilizationWindowSeconds"), *s, "must be greater than or equal to zero")
		}
		if *s > maxStabilization {
			l.Invalid(p.Child("stabilizationWindowSeconds"), *s, fmt.Sprintf("must be less than or equal to %d", maxStabilization))
		}
	}
	if r.SelectPolicy != nil {
		check.Supported(l, p.Child("selectPolicy"), *r.SelectPolicy,
			autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)
	}
	if len(r.Policies) == 0 {
		l.Required(p.Child("policies"), "must specify at least one Policy")
	}
	for i := range r.Policies {
		scalingPolicy(l, p.Child("policies").Index(i), &r.Policies[i])
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		l.Invalid(p.Child("tolerance"), r.Tolerance.String(), "must be greater than or equal to 0")
	}
}

func scalingPolicy(l *check.List, p *field.Path, policy *autoscalingv2.HPAScalingPolicy) {
	check.Supported(l, p.Child("type"), policy.Type, autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)
	l.Positive(p.Child("value"), int64(policy.Value))
	l.Positive(p.Child("periodSeconds"), int64(policy.PeriodSeconds))
	if policy.PeriodSeconds > maxPeriod {
		l.Invalid(p.Child("periodSeconds"), policy.PeriodSeconds, fmt.Sprintf("must be less than or equal to %d", maxPeriod))
	}
}
