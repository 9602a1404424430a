package podspec

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	helper "k8s.io/component-helpers/resource"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// DropDisabled clears the fields that Kubernetes 1.37 has but does not use by default.
func DropDisabled(s *corev1.PodSpec) {
	s.SchedulingGroup = nil
	s.EvictionResponders = nil
}

// MergeLabelKeys turns matchLabelKeys and mismatchLabelKeys into expressions of the selectors they
// stand beside, with the values of the pod's own labels.
func MergeLabelKeys(p *corev1.Pod) {
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			mergeTerms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
		if a.PodAntiAffinity != nil {
			mergeTerms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
	}
}

func mergeTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, labels map[string]string) {
	for i := range required {
		mergeTerm(&required[i], labels)
	}
	for i := range preferred {
		mergeTerm(&preferred[i].PodAffinityTerm, labels)
	}
}

func mergeTerm(t *corev1.PodAffinityTerm, labels map[string]string) {
	if t.LabelSelector == nil {
		return
	}
	mergeKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
	mergeKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, labels)
}

func mergeKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, labels map[string]string) {
	for _, k := range keys {
		if v, ok := labels[k]; ok {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: k, Operator: op, Values: []string{v}})
		}
	}
}

// DefaultPodResources fills in what a pod as a whole requests and limits, where it says some of it:
// what its containers ask in sum, else its limits. See KEP-2837.
func DefaultPodResources(p *corev1.Pod) {
	r := p.Spec.Resources
	if r == nil {
		return
	}
	if len(r.Limits) > 0 || len(r.Requests) > 0 {
		sums := helper.AggregateContainerLimits(p, helper.PodResourcesOptions{})
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			if _, requested := r.Requests[name]; check.IsHugePages(name) && !requested {
				setIfMissing(&r.Limits, name, sums)
			}
		}
	}
	if len(r.Limits) == 0 {
		return
	}
	sums := helper.AggregateContainerRequests(p, helper.PodResourcesOptions{})
	for name := range sums {
		if helper.IsSupportedPodLevelResource(name) && check.CanOvercommit(name) {
			setIfMissing(&r.Requests, name, sums)
		}
	}
	for name := range r.Limits {
		if helper.IsSupportedPodLevelResource(name) {
			setIfMissing(&r.Requests, name, r.Limits)
		}
	}
}

func setIfMissing(list *corev1.ResourceList, name corev1.ResourceName, from corev1.ResourceList) {
	if _, ok := (*list)[name]; ok {
		return
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = from[name].DeepCopy()
}
