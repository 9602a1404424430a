package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/inboard/inboard/apiserver"
)

// limit gives the attributes a review's selectors, as far as they can be understood, and tells of those that can't.
func limit(a *apiserver.Attributes, r *authorizationv1.ResourceAttributes) (ignored []string) {
	tell := func(which string, understood, all int) {
		if understood < all {
			text := "spec.resourceAttributes." + which
			if understood > 0 {
				text += " partially"
			}
			ignored = append(ignored, text+" ignored due to parse error")
		}
	}
	if s := r.FieldSelector; s != nil {
		if s.RawSelector != "" {
			parsed, err := fields.ParseSelector(s.RawSelector)
			if err == nil {
				a.FieldSelector = parsed.Requirements()
			}
			tell("fieldSelector", count(err), 1)
		}
		if len(s.Requirements) > 0 {
			a.FieldSelector = fieldRequirements(s.Requirements)
			tell("fieldSelector", len(a.FieldSelector), len(s.Requirements))
		}
	}
	if s := r.LabelSelector; s != nil {
		if s.RawSelector != "" {
			parsed, err := labels.Parse(s.RawSelector)
			if err == nil {
				a.LabelSelector, _ = parsed.Requirements()
			}
			tell("labelSelector", count(err), 1)
		}
		if len(s.Requirements) > 0 {
			a.LabelSelector = labelRequirements(s.Requirements)
			tell("labelSelector", len(a.LabelSelector), len(s.Requirements))
		}
	}
	return ignored
}

// fieldRequirements leaves out what field selectors can't say.
func fieldRequirements(list []metav1.FieldSelectorRequirement) fields.Requirements {
	var out fields.Requirements
	for _, r := range list {
		if len(r.Values) != 1 {
			continue
		}
		switch r.Operator {
		case metav1.FieldSelectorOpIn:
			out = append(out, fields.Requirement{Field: r.Key, Operator: selection.Equals, Value: r.Values[0]})
		case metav1.FieldSelectorOpNotIn:
			out = append(out, fields.Requirement{Field: r.Key, Operator: selection.NotEquals, Value: r.Values[0]})
		}
	}
	return out
}

// labelRequirements leaves out what can't be understood.
func labelRequirements(list []metav1.LabelSelectorRequirement) labels.Requirements {
	var out labels.Requirements
	for i := range list {
		sel, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: list[i : i+1]})
		if err != nil {
			continue
		}
		one, _ := sel.Requirements()
		out = append(out, one...)
	}
	return out
}

func count(err error) int {
	if err != nil {
		return 0
	}
	return 1
}
