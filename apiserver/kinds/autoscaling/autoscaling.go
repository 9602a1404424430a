// Package autoscaling has the row of HorizontalPodAutoscaler, stored as autoscaling/v2 and served as v1,
// too.
package autoscaling

import (
	"strconv"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// defaultUtilization is the percentage of the requested CPU that is aimed at when no metric is named.
const defaultUtilization = 80

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind { return []apiserver.Kind{HorizontalPodAutoscaler()} }

// HorizontalPodAutoscaler returns the row of HorizontalPodAutoscaler.
func HorizontalPodAutoscaler() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"),
		Resource:            "horizontalpodautoscalers",
		Singular:            "horizontalpodautoscaler",
		ShortNames:          []string{"hpa"},
		Categories:          []string{"all"},
		Namespaced:          true,
		Object:              &autoscalingv2.HorizontalPodAutoscaler{},
		List:                &autoscalingv2.HorizontalPodAutoscalerList{},
		Versions: []apiserver.Version{{
			GroupVersionKind: autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"),
			Object:           &autoscalingv1.HorizontalPodAutoscaler{},
			List:             &autoscalingv1.HorizontalPodAutoscalerList{},
			Default: row.Of(func(o *autoscalingv1.HorizontalPodAutoscaler) {
				fill.Nil(&o.Spec.MinReplicas, 1) // the metric is the stored version's default
			}),
			ToStorage: func(in, out client.Object) error {
				fromV1(in.(*autoscalingv1.HorizontalPodAutoscaler), out.(*autoscalingv2.HorizontalPodAutoscaler))
				return nil
			},
			FromStorage: func(in, out client.Object) error {
				return toV1(in.(*autoscalingv2.HorizontalPodAutoscaler), out.(*autoscalingv1.HorizontalPodAutoscaler))
			},
		}},
		Status:     true,
		Generation: true,
		Default:    row.Of(setDefaults),
		Prepare: row.Pair(func(o, _ *autoscalingv2.HorizontalPodAutoscaler) {
			o.Annotations = withoutRoundTrip(o.Annotations)
		}),
		Validate:       row.Check(validate),
		ValidateStatus: row.Check(validateStatus),
		Columns:        row.Columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"),
		Row:            row.Cells(cells),
	}
}

func setDefaults(o *autoscalingv2.HorizontalPodAutoscaler) {
	fill.Nil(&o.Spec.MinReplicas, 1)
	if len(o.Spec.Metrics) == 0 {
		o.Spec.Metrics = []autoscalingv2.MetricSpec{cpu(defaultUtilization)}
	}
	if b := o.Spec.Behavior; b != nil {
		const period = 15
		percent := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: period}
		pods := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: period}
		b.ScaleUp = rules(b.ScaleUp, pods, percent)
		fill.Nil(&b.ScaleUp.StabilizationWindowSeconds, 0)
		b.ScaleDown = rules(b.ScaleDown, percent)
	}
}

// rules fills in the rules of scaling in one direction.
func rules(r *autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
	if r == nil {
		r = &autoscalingv2.HPAScalingRules{}
	}
	fill.Nil(&r.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if r.Policies == nil {
		r.Policies = policies
	}
	return r
}

// cpu is the metric of a share of the CPU that pods request.
func cpu(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

func cells(o *autoscalingv2.HorizontalPodAutoscaler, now time.Time) []any {
	least := "<unset>"
	if n := o.Spec.MinReplicas; n != nil {
		least = strconv.Itoa(int(*n))
	}
	return []any{o.Name, o.Spec.ScaleTargetRef.Kind + "/" + o.Spec.ScaleTargetRef.Name, targets(o), least,
		int64(o.Spec.MaxReplicas), int64(o.Status.CurrentReplicas), row.Age(o.CreationTimestamp, now)}
}

func isCPU(m *autoscalingv2.MetricSpec) bool {
	return m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU &&
		m.Resource.Target.AverageUtilization != nil
}

func copyMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m)+1)
	for k, v := range m {
		out[k] = v
	}
	return out
}
