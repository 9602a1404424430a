package scheduler

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// matcher is a label selector with what finds its pods in an index.
type matcher struct {
	labels.Selector
	// pairs are, for each requirement that names values, the labels "key=value" one of which a pod
	// must have.
	pairs [][]string
}

func newMatcher(s labels.Selector) matcher {
	m := matcher{Selector: s}
	requirements, _ := s.Requirements()
	for i := range requirements {
		r := &requirements[i]
		switch r.Operator() {
		case selection.In, selection.Equals, selection.DoubleEquals:
			var pairs []string
			for _, v := range r.ValuesUnsorted() {
				pairs = append(pairs, r.Key()+"="+v)
			}
			m.pairs = append(m.pairs, pairs)
		}
	}
	return m
}

// appendKey appends what tells the selector from others that do not select the same.
func (m *matcher) appendKey(b []byte) []byte {
	if _, selectable := m.Requirements(); !selectable {
		return append(b, '!') // its text is that of a selector of everything
	}
	return appendText(append(b, '='), m.String())
}

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
