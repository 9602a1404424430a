package autoscaling

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func metrics(l *check.List, p *field.Path, s *autoscalingv2.HorizontalPodAutoscalerSpec, objects references) {
	for i := range s.Metrics {
		metric(l, p.Index(i), &s.Metrics[i], objects)
	}
	outside := slices.ContainsFunc(s.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	})
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !outside {
		l.Forbidden(p, "must specify at least one Object or External metric to support scaling to zero replicas")
	}
}

// source is a way to measure, of which a metric has one.
type source struct {
	typ   autoscalingv2.MetricSourceType
	name  string
	set   bool
	check func(p *field.Path)
}

func sources(l *check.List, m *autoscalingv2.MetricSpec, objects references) []source {
	return []source{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(p *field.Path) { objectSource(l, p, m.Object, objects) }},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(p *field.Path) { externalSource(l, p, m.External) }},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(p *field.Path) { podsSource(l, p, m.Pods) }},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(p *field.Path) {
			resourceSource(l, p, string(m.Resource.Name), &m.Resource.Target)
		}},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(p *field.Path) {
			containerSource(l, p, m.ContainerResource)
		}},
	}
}

func metric(l *check.List, p *field.Path, m *autoscalingv2.MetricSpec, objects references) {
	if m.Type == "" {
		l.Required(p.Child("type"), "must specify a metric source type")
	}
	check.Supported(l, p.Child("type"), m.Type, autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)
	var present []string
	expected := ""
	for _, s := range sources(l, m, objects) {
		if s.set {
			if present = append(present, s.name); len(present) == 1 {
				s.check(p.Child(s.name))
			}
		}
		if s.typ == m.Type {
			expected = s.name
			if !s.set {
				l.Required(p.Child(s.name), "must populate information for the given metric source")
			}
		}
	}
	if len(present) == 1 {
		return
	}
	for _, name := range present {
		if name != expected {
			l.Forbidden(p.Child(name), "must populate the given metric source only")
		}
	}
}

func objectSource(l *check.List, p *field.Path, s *autoscalingv2.ObjectMetricSource, objects references) {
	reference(l, p.Child("describedObject"), &s.DescribedObject, objects)
	identifier(l, p.Child("metric"), &s.Metric)
	metricTarget(l, p.Child("target"), &s.Target)
	if s.Target.Value == nil && s.Target.AverageValue == nil {
		l.Required(p.Child("target", "averageValue"), "must set either a target value or averageValue")
	}
}

func externalSource(l *check.List, p *field.Path, s *autoscalingv2.ExternalMetricSource) {
	identifier(l, p.Child("metric"), &s.Metric)
	metricTarget(l, p.Child("target"), &s.Target)
	if s.Target.Value == nil && s.Target.AverageValue == nil {
		l.Required(p.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target")
	}
	if s.Target.Value != nil && s.Target.AverageValue != nil {
		l.Forbidden(p.Child("target", "value"), "may not set both a target value for metric and a per-pod target")
	}
}

func podsSource(l *check.List, p *field.Path, s *autoscalingv2.PodsMetricSource) {
	identifier(l, p.Child("metric"), &s.Metric)
	metricTarget(l, p.Child("target"), &s.Target)
	if s.Target.AverageValue == nil {
		l.Required(p.Child("target", "averageValue"), "must specify a positive target averageValue")
	}
}

func containerSource(l *check.List, p *field.Path, s *autoscalingv2.ContainerResourceMetricSource) {
	if s.Name != "" {
		l.ContainerResourceName(p.Child("name"), s.Name)
	}
	if s.Container == "" {
		l.Required(p.Child("container"), "must specify a container")
	} else {
		l.Label(p.Child("container"), s.Container)
	}
	resourceSource(l, p, string(s.Name), &s.Target)
}

func resourceSource(l *check.List, p *field.Path, name string, t *autoscalingv2.MetricTarget) {
	if name == "" {
		l.Required(p.Child("name"), "must specify a resource name")
	}
	metricTarget(l, p.Child("target"), t)
	if t.AverageUtilization == nil && t.AverageValue == nil {
		l.Required(p.Child("target", "averageUtilization"), "must set either a target raw value or a target utilization")
	}
	if t.AverageUtilization != nil && t.AverageValue != nil {
		l.Forbidden(p.Child("target", "averageValue"), "may not set both a target raw value and a target utilization")
	}
}

func metricTarget(l *check.List, p *field.Path, t *autoscalingv2.MetricTarget) {
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		if t.Type == "" {
			l.Required(p.Child("type"), "must specify a metric target type")
		}
		l.Invalid(p.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue")
	}
	if !positive(t.Value) {
		l.Invalid(p.Child("value"), t.Value, "must be positive")
	}
	if !positive(t.AverageValue) {
		l.Invalid(p.Child("averageValue"), t.AverageValue, "must be positive")
	}
	if u := t.AverageUtilization; u != nil && *u < 1 {
		l.Invalid(p.Child("averageUtilization"), *u, "must be greater than 0")
	}
}

func identifier(l *check.List, p *field.Path, id *autoscalingv2.MetricIdentifier) {
	if id.Name == "" {
		l.Required(p.Child("name"), "must specify a metric name")
		return
	}
	l.Messages(p.Child("name"), id.Name, content.IsPathSegmentName(id.Name))
}
