package scheduler

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// mergeLabelKeys returns the selector narrowed to pods that have the owner's own values for the keys
// of match, and none of the owner's values for the keys of mismatch. Keys that the owner lacks are
// left out, as the API defines. A nil selector selects nothing, whatever the keys.
func mergeLabelKeys(s *metav1.LabelSelector, owner map[string]string, match, mismatch []string) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing(), err
	}
	if _, selectable := selector.Requirements(); !selectable {
		return selector, nil
	}
	for _, k := range match {
		if selector, err = require(selector, owner, k, selection.In); err != nil {
			return labels.Nothing(), err
		}
	}
	for _, k := range mismatch {
		if selector, err = require(selector, owner, k, selection.NotIn); err != nil {
			return labels.Nothing(), err
		}
	}
	return selector, nil
}

func require(s labels.Selector, owner map[string]string, key string, op selection.Operator) (labels.Selector, error) {
	value, ok := owner[key]
	if !ok {
		return s, nil
	}
	r, err := labels.NewRequirement(key, op, []string{value})
	if err != nil {
		return s, err
	}
	return s.Add(*r), nil
}
