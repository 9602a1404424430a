package scheduling

import (
	"time"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// PodGroup returns the row of PodGroup, scheduling.k8s.io/v1beta1, as Kubernetes serves it with its feature gate
// GenericWorkload, which is off there by default, and without the further gates of some of its fields.
func PodGroup() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    schedulingv1beta1.SchemeGroupVersion.WithKind("PodGroup"),
		Resource:            "podgroups",
		Singular:            "podgroup",
		Namespaced:          true,
		Status:              true,
		PlainStatus:         true,
		ConditionalUpdate:   true,
		Object:              &schedulingv1beta1.PodGroup{},
		List:                &schedulingv1beta1.PodGroupList{},
		Default: row.Of(func(o *schedulingv1beta1.PodGroup) {
			if o.Spec.DisruptionMode == nil {
				o.Spec.DisruptionMode = &schedulingv1beta1.DisruptionMode{Single: &schedulingv1beta1.SingleDisruptionMode{}}
			}
		}),
		Prepare: row.Pair(func(o, _ *schedulingv1beta1.PodGroup) {
			s := &o.Spec
			s.SchedulingConstraints, s.ResourceClaims, s.PreemptionPolicy, s.ParentCompositePodGroupName = nil, nil, nil, nil
		}),
		Validate: row.Check(validatePodGroup),
		PrepareStatus: row.Pair(func(o, _ *schedulingv1beta1.PodGroup) {
			o.Status.ResourceClaimStatuses = nil
		}),
		ValidateStatus: row.Check(func(o, _ *schedulingv1beta1.PodGroup) field.ErrorList {
			return metavalidation.ValidateConditions(o.Status.Conditions, field.NewPath("status", "conditions"))
		}),
		StatusResets: []string{"metadata"},
		Columns:      row.Columns("Name", "Policy", "Workload", "Status", "Age"),
		Row: row.Cells(func(o *schedulingv1beta1.PodGroup, now time.Time) []any {
			return []any{o.Name, policyName(o), workloadName(o), podGroupPhase(o), row.Age(o.CreationTimestamp, now)}
		}),
	}
}

func policyName(o *schedulingv1beta1.PodGroup) string {
	if o.Spec.SchedulingPolicy.Gang != nil {
		return "Gang"
	}
	return "Basic"
}

func workloadName(o *schedulingv1beta1.PodGroup) string {
	if ref := o.Spec.WorkloadRef; ref != nil {
		return ref.WorkloadName
	}
	return "<none>"
}

func podGroupPhase(o *schedulingv1beta1.PodGroup) string {
	phase := "Pending"
	for _, c := range o.Status.Conditions {
		switch {
		case c.Type == schedulingv1beta1.PodGroupInitiallyScheduled && c.Status == metav1.ConditionTrue:
			phase = "Scheduled"
		case c.Type == schedulingv1beta1.PodGroupInitiallyScheduled:
			phase = "Unschedulable"
		}
	}
	for _, c := range o.Status.Conditions {
		if c.Type == schedulingv1beta1.DisruptionTarget {
			phase = c.Reason
		}
	}
	return phase
}
