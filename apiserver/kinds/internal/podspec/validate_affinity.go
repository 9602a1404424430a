package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/internal/plain"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	requiredDuring  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredDuring = "preferredDuringSchedulingIgnoredDuringExecution"
	weightDetail    = "must be in the range 1-100"
	notAnOperator   = "not a valid selector operator"
)

func (c *checker) affinity(a *corev1.Affinity, path *field.Path) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil {
		c.nodeAffinity(n, path.Child("nodeAffinity"))
	}
	if p := a.PodAffinity; p != nil {
		c.podAffinity(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, path.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		c.podAffinity(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, path.Child("podAntiAffinity"))
	}
}

func (c *checker) nodeAffinity(n *corev1.NodeAffinity, path *field.Path) {
	if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		c.nodeSelector(r, true, path.Child(requiredDuring))
	}
	for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
		t, p := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], path.Child(preferredDuring).Index(i)
		c.weight(t.Weight, p)
		c.nodeSelectorTerm(&t.Preference, false, p.Child("preference"))
	}
}

func (c *checker) nodeSelector(s *corev1.NodeSelector, checkValues bool, path *field.Path) {
	terms := path.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		c.Required(terms, "must have at least one node selector term")
	}
	for i := range s.NodeSelectorTerms {
		c.nodeSelectorTerm(&s.NodeSelectorTerms[i], checkValues, terms.Index(i))
	}
}

func (c *checker) weight(w int32, path *field.Path) {
	if w <= 0 || w > 100 {
		c.Invalid(path.Child("weight"), w, weightDetail)
	}
}

func (c *checker) nodeSelectorTerm(t *corev1.NodeSelectorTerm, checkValues bool, path *field.Path) {
	for i := range t.MatchExpressions {
		c.nodeRequirement(&t.MatchExpressions[i], checkValues, path.Child("matchExpressions").Index(i))
	}
	for i := range t.MatchFields {
		c.nodeField(&t.MatchFields[i], path.Child("matchFields").Index(i))
	}
}

func (c *checker) nodeRequirement(r *corev1.NodeSelectorRequirement, checkValues bool, path *field.Path) {
	values := path.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			c.Required(values, "must be specified when `operator` is 'In' or 'NotIn'")
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			c.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			c.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'")
		}
	default:
		c.Invalid(path.Child("operator"), r.Operator, notAnOperator)
	}
	c.Add(metavalidation.ValidateLabelName(r.Key, path.Child("key"))...)
	for i, v := range r.Values {
		if checkValues {
			c.LabelValue(values.Index(i), v)
		}
	}
}

func (c *checker) nodeField(r *corev1.NodeSelectorRequirement, path *field.Path) {
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			c.Required(path.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
	default:
		c.Invalid(path.Child("operator"), r.Operator, notAnOperator)
	}
	if r.Key != metav1.ObjectNameField {
		c.Invalid(path.Child("key"), r.Key, "not a valid field selector key")
		return
	}
	for i, v := range r.Values {
		c.Subdomain(path.Child("values").Index(i), v)
	}
}

func (c *checker) podAffinity(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, path *field.Path) {
	for i := range required {
		c.podAffinityTerm(&required[i], path.Child(requiredDuring).Index(i))
	}
	for i := range preferred {
		p := path.Child(preferredDuring).Index(i)
		c.weight(preferred[i].Weight, p)
		c.podAffinityTerm(&preferred[i].PodAffinityTerm, p.Child("podAffinityTerm"))
	}
}

func (c *checker) podAffinityTerm(t *corev1.PodAffinityTerm, path *field.Path) {
	c.selector(t.LabelSelector, path.Child("labelSelector"))
	c.selector(t.NamespaceSelector, path.Child("namespaceSelector"))
	for _, n := range t.Namespaces {
		c.Messages(path.Child("namespace"), n, apivalidation.ValidateNamespaceName(n, false))
	}
	c.labelKeys(t.MatchLabelKeys, t.MismatchLabelKeys, t.LabelSelector, path)
	if t.TopologyKey == "" {
		c.Required(path.Child("topologyKey"), "can not be empty")
	}
	c.Add(metavalidation.ValidateLabelName(t.TopologyKey, path.Child("topologyKey"))...)
}

func (c *checker) selector(s *metav1.LabelSelector, path *field.Path) {
	c.Add(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)...)
}

// labelKeys checks the keys whose values are taken from the pod's own labels.
func (c *checker) labelKeys(match, mismatch []string, s *metav1.LabelSelector, path *field.Path) {
	for _, keys := range []struct {
		name string
		list []string
	}{{"matchLabelKeys", match}, {"mismatchLabelKeys", mismatch}} {
		if len(keys.list) > 0 && s == nil {
			c.Forbidden(path.Child(keys.name), "must not be specified when labelSelector is not set")
			continue
		}
		for i, k := range keys.list {
			c.Add(metavalidation.ValidateLabelName(k, path.Child(keys.name).Index(i))...)
		}
	}
	c.repeatedKeys(match, s, path)
	for i, k := range match {
		if slices.Contains(mismatch, k) {
			c.Invalid(path.Child("matchLabelKeys").Index(i), k, "exists in both matchLabelKeys and mismatchLabelKeys")
		}
	}
}

// repeatedKeys refuses keys that the selector names already. The server itself adds one expression
// for each key, which is not counted.
func (c *checker) repeatedKeys(match []string, s *metav1.LabelSelector, path *field.Path) {
	if s == nil {
		return
	}
	named := map[string]bool{}
	for k := range s.MatchLabels {
		named[k] = true
	}
	for _, e := range s.MatchExpressions {
		if i := slices.Index(match, e.Key); i >= 0 && named[e.Key] {
			c.Invalid(path.Index(i), e.Key, "exists in both matchLabelKeys and labelSelector")
		}
		named[e.Key] = true
	}
}

func (c *checker) topologySpread(list []corev1.TopologySpreadConstraint, path *field.Path) {
	for i := range list {
		t, p := &list[i], path.Index(i)
		c.Positive(p.Child("maxSkew"), int64(t.MaxSkew))
		if t.TopologyKey == "" {
			c.Required(p.Child("topologyKey"), "can not be empty")
		}
		check.Supported(&c.List, p.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		for _, other := range list[i+1:] {
			if other.TopologyKey == t.TopologyKey && other.WhenUnsatisfiable == t.WhenUnsatisfiable {
				c.Add(field.Duplicate(p.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", t.TopologyKey, t.WhenUnsatisfiable)))
				break
			}
		}
		if t.MinDomains != nil {
			c.Positive(p.Child("minDomains"), int64(*t.MinDomains))
			if t.WhenUnsatisfiable != corev1.DoNotSchedule {
				c.Invalid(p.Child("minDomains"), t.MinDomains, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, t.WhenUnsatisfiable))
			}
		}
		c.inclusion(t.NodeAffinityPolicy, p.Child("nodeAffinityPolicy"))
		c.inclusion(t.NodeTaintsPolicy, p.Child("nodeTaintsPolicy"))
		c.labelKeys(t.MatchLabelKeys, nil, t.LabelSelector, p)
		c.selector(t.LabelSelector, p.Child("labelSelector"))
	}
}

func (c *checker) inclusion(p *corev1.NodeInclusionPolicy, path *field.Path) {
	if p != nil {
		check.Supported(&c.List, path, *p, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
	}
}

func (c *checker) tolerations(list []corev1.Toleration, path *field.Path) {
	for i := range list {
		t := &list[i]
		if isPlainToleration(t) {
			continue
		}
		p := path.Index(i)
		if t.Key != "" {
			c.LabelName(p.Child("key"), t.Key)
		} else if t.Operator != corev1.TolerationOpExists {
			c.Invalid(p.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"")
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			c.Invalid(p.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
		}
		c.tolerationValue(t, p)
		if t.Effect != "" {
			TaintEffect(&c.List, t.Effect, p.Child("effect"))
		}
	}
}

// isPlainToleration tells that a toleration is as those are that each pod gets, which needs no paths to be made.
func isPlainToleration(t *corev1.Toleration) bool {
	return t.Operator == corev1.TolerationOpExists && t.Value == "" && plain.LabelKey(t.Key) &&
		(t.Effect == corev1.TaintEffectNoExecute || t.Effect == corev1.TaintEffectNoSchedule && t.TolerationSeconds == nil)
}

func (c *checker) tolerationValue(t *corev1.Toleration, path *field.Path) {
	operator := path.Child("operator")
	switch t.Operator {
	case corev1.TolerationOpEqual, "":
		if messages := validation.IsValidLabelValue(t.Value); len(messages) > 0 {
			c.Invalid(operator, t.Value, strings.Join(messages, ";"))
		}
	case corev1.TolerationOpExists:
		if t.Value != "" {
			c.Invalid(operator, t.Value, "value must be empty when `operator` is 'Exists'")
		}
	case corev1.TolerationOpLt, corev1.TolerationOpGt: // off in Kubernetes by default
		c.Add(field.NotSupported(operator, t.Operator, []corev1.TolerationOperator{
			corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt,
		}))
	default:
		check.Supported(&c.List, operator, t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)
	}
}

// TaintEffect asks for an effect that a taint can have.
func TaintEffect(l *check.List, e corev1.TaintEffect, path *field.Path) {
	check.Supported(l, path, e, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

// ValidateNodeSelector returns what is wrong with a selector of nodes that stands outside a pod.
func ValidateNodeSelector(s *corev1.NodeSelector, path *field.Path) field.ErrorList {
	c := &checker{}
	c.nodeSelector(s, true, path)
	return c.Errors()
}
