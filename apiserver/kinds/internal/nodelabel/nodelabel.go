// Package nodelabel tells of labels of nodes that have got other names.
package nodelabel

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var deprecated = map[string]string{
	"beta.kubernetes.io/arch":                       `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":                         `deprecated since v1.14; use "kubernetes.io/os" instead`,
	"failure-domain.beta.kubernetes.io/region":      `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	"failure-domain.beta.kubernetes.io/zone":        `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	"beta.kubernetes.io/instance-type":              `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
	"app.kubernetes.io/created-by":                  `deprecated since v1.9`,
	"scheduler.alpha.kubernetes.io/preferAvoidPods": `deprecated since v1.22; use Taints and Tolerations instead`,
	"node-role.kubernetes.io/master":                `use "node-role.kubernetes.io/control-plane" instead`,
}

// Deprecated returns what is told of a label, "" for nothing.
func Deprecated(label string) string { return deprecated[label] }

// Labels returns the warnings about a map of labels; at returns where one of them is.
func Labels(labels map[string]string, at func(label string) *field.Path) []string {
	var out []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if text := deprecated[label]; text != "" {
			out = append(out, fmt.Sprintf("%s: %s", at(label), text))
		}
	}
	return out
}

// Selector returns the warnings about a selector of nodes.
func Selector(s *metav1.LabelSelector, path *field.Path) []string {
	if s == nil {
		return nil
	}
	var out []string
	for i, e := range s.MatchExpressions {
		out = append(out, key(e.Key, path.Child("matchExpressions").Index(i))...)
	}
	return append(out, Labels(s.MatchLabels, func(label string) *field.Path { return path.Child("matchLabels", label) })...)
}

// Term returns the warnings about a term of a node affinity; of a preference no validation looks at the values.
func Term(t *corev1.NodeSelectorTerm, preference bool, path *field.Path) []string {
	var out []string
	for i, e := range t.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		out = append(out, key(e.Key, at)...)
		if !preference {
			continue
		}
		for j, v := range e.Values {
			for _, msg := range validation.IsValidLabelValue(v) {
				out = append(out, fmt.Sprintf("%s: %s is invalid, %s", at.Child("values").Index(j), v, msg))
			}
		}
	}
	return out
}

func key(label string, path *field.Path) []string {
	if text := deprecated[label]; text != "" {
		return []string{fmt.Sprintf("%s: %s is %s", path.Child("key"), label, text)}
	}
	return nil
}
