package podspec

import (
	corev1 "k8s.io/api/core/v1"
	helper "k8s.io/component-helpers/resource"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// DefaultPodResources fills in what a pod as a whole requests and is limited to, where it says some
// of it: what its containers ask in sum, else the other of its own two numbers. See KEP-2837.
func DefaultPodResources(p *corev1.Pod) {
	r := p.Spec.Resources
	if r == nil || len(r.Limits) == 0 && len(r.Requests) == 0 {
		return
	}
	containers := &corev1.Pod{Spec: corev1.PodSpec{Containers: p.Spec.Containers, InitContainers: p.Spec.InitContainers}}
	limits := helper.AggregateContainerLimits(containers, helper.PodResourcesOptions{})
	for name := range limits {
		if _, requested := r.Requests[name]; check.IsHugePages(name) && !requested {
			setIfMissing(&r.Limits, name, limits)
		}
	}
	requests := helper.AggregateContainerRequests(containers, helper.PodResourcesOptions{})
	for name := range requests {
		if helper.IsSupportedPodLevelResource(name) && check.CanOvercommit(name) {
			setIfMissing(&r.Requests, name, requests)
		}
	}
	for name := range r.Limits {
		if helper.IsSupportedPodLevelResource(name) {
			setIfMissing(&r.Requests, name, r.Limits)
		}
	}
	limitRequested(r, &p.Spec, limits)
}

// limitRequested limits the pod to the sum of its containers' limits where all of them have one.
func limitRequested(r *corev1.ResourceRequirements, s *corev1.PodSpec, limits corev1.ResourceList) {
	for name, request := range r.Requests {
		if _, ok := r.Limits[name]; ok || !helper.IsSupportedPodLevelResource(name) {
			continue
		}
		all := true
		EachContainer(s, func(c *corev1.Container) {
			_, limited := c.Resources.Limits[name]
			all = all && limited
		})
		sum, ok := limits[name]
		if !all || !ok {
			continue
		}
		if request.Cmp(sum) > 0 {
			sum = request
		}
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[name] = sum.DeepCopy()
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
