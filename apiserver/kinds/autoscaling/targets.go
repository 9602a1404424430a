package autoscaling

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

// shownTargets is how many metrics kubectl lists one by one.
const shownTargets = 2

// targets tells the state of the metrics, "cpu: 30%/80%".
func targets(o *autoscalingv2.HorizontalPodAutoscaler) string {
	if len(o.Spec.Metrics) == 0 {
		return "<none>"
	}
	var list []string
	for i := range o.Spec.Metrics {
		var status autoscalingv2.MetricStatus
		if i < len(o.Status.CurrentMetrics) {
			status = o.Status.CurrentMetrics[i]
		}
		list = append(list, target(&o.Spec.Metrics[i], &status))
	}
	if more := len(list) - shownTargets; more > 0 {
		return fmt.Sprintf("%s + %d more...", strings.Join(list[:shownTargets], ", "), more)
	}
	return strings.Join(list, ", ")
}

func target(m *autoscalingv2.MetricSpec, s *autoscalingv2.MetricStatus) string {
	var current *autoscalingv2.MetricValueStatus
	switch {
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		if s.External != nil {
			current = &s.External.Current
		}
		return valueTarget(&m.External.Target, current)
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		if s.Object != nil {
			current = &s.Object.Current
		}
		return valueTarget(&m.Object.Target, current)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		if s.Pods != nil {
			current = &s.Pods.Current
		}
		return average(current, true) + "/" + m.Pods.Target.AverageValue.String()
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		if s.Resource != nil {
			current = &s.Resource.Current
		}
		return m.Resource.Name.String() + ": " + resourceTarget(&m.Resource.Target, current)
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		if s.ContainerResource != nil {
			current = &s.ContainerResource.Current
		}
		return m.ContainerResource.Name.String() + ": " + resourceTarget(&m.ContainerResource.Target, current)
	}
	return "<unknown type>"
}

func valueTarget(t *autoscalingv2.MetricTarget, s *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return average(s, false) + "/" + t.AverageValue.String() + " (avg)"
	}
	current := "<unknown>"
	if s != nil {
		current = s.Value.String()
	}
	return current + "/" + t.Value.String()
}

// average tells an average; where there is a state without one, it is "<nil>" if shown.
func average(s *autoscalingv2.MetricValueStatus, shown bool) string {
	if s == nil || s.AverageValue == nil && !shown {
		return "<unknown>"
	}
	return s.AverageValue.String()
}

func resourceTarget(t *autoscalingv2.MetricTarget, s *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return average(s, true) + "/" + t.AverageValue.String()
	}
	current, want := "<unknown>", "<auto>"
	if s != nil && s.AverageUtilization != nil {
		current = fmt.Sprintf("%d%%", *s.AverageUtilization)
	}
	if t.AverageUtilization != nil {
		want = fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return current + "/" + want
}

// positive tells that a quantity is set and above zero.
func positive(q *resource.Quantity) bool { return q == nil || q.Sign() == 1 }
