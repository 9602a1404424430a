// Package podspec defaults and validates pods and pod templates, for all kinds that hold one.
package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
)

// Default fills in a pod specification, in a pod and in a template alike.
func Default(s *corev1.PodSpec) {
	fill.Empty(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
	fill.Empty(&s.DNSPolicy, corev1.DNSClusterFirst)
	fill.Empty(&s.RestartPolicy, corev1.RestartPolicyAlways)
	fill.Empty(&s.SchedulerName, corev1.DefaultSchedulerName)
	fill.Nil(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	fill.Nil(&s.SecurityContext, corev1.PodSecurityContext{})
	if s.Resources != nil {
		defaultResources(s.Resources)
	}
	RoundResources(s.Overhead)
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	EachContainer(s, defaultContainer)
}

// DefaultPod fills in what is defaulted in pods but not in templates. It goes before Default.
func DefaultPod(p *corev1.Pod) {
	s := &p.Spec
	if t := s.TerminationGracePeriodSeconds; t != nil && *t < 0 {
		*t = 1
	}
	for _, cs := range [][]corev1.Container{s.Containers, s.InitContainers} {
		for i := range cs {
			requestLimits(&cs[i].Resources)
			if s.HostNetwork {
				hostPorts(cs[i].Ports)
			}
		}
	}
	fill.Nil(&s.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	defaultStatus(&p.Status)
}

// EachContainer calls f for each init, ordinary and ephemeral container; what f changes stays.
func EachContainer(s *corev1.PodSpec, f func(*corev1.Container)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i])
	}
	for i := range s.Containers {
		f(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		f((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon))
	}
}

func requestLimits(r *corev1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = make(corev1.ResourceList, len(r.Limits))
	}
	for name, q := range r.Limits {
		if _, ok := r.Requests[name]; !ok {
			r.Requests[name] = q.DeepCopy()
		}
	}
}

func hostPorts(ports []corev1.ContainerPort) {
	for i := range ports {
		fill.Empty(&ports[i].HostPort, ports[i].ContainerPort)
	}
}

func defaultStatus(s *corev1.PodStatus) {
	defaultIPs(s)
	RoundResources(s.AllocatedResources)
	if s.Resources != nil {
		defaultResources(s.Resources)
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			RoundResources(list[i].AllocatedResources)
			if list[i].Resources != nil {
				defaultResources(list[i].Resources)
			}
		}
	}
}

// The older single address and the newer list say the same; the single one wins.
func defaultIPs(s *corev1.PodStatus) {
	switch {
	case s.PodIP == "" && len(s.PodIPs) > 0:
		s.PodIP = s.PodIPs[0].IP
	case s.PodIP != "" && (len(s.PodIPs) == 0 || s.PodIPs[0].IP != s.PodIP):
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
}

// RoundResources rounds quantities up to a thousandth, the finest that the API keeps.
func RoundResources(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

func defaultResources(r *corev1.ResourceRequirements) {
	RoundResources(r.Limits)
	RoundResources(r.Requests)
}
