package podspec

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

var statusPath = field.NewPath("status")

// ValidatePodStatus returns what is wrong with a write to a pod's status.
func ValidatePodStatus(p, old *corev1.Pod) field.ErrorList {
	c := &checker{spec: &p.Spec, meta: &p.ObjectMeta}
	s, was := &p.Status, &old.Status
	for i, cond := range s.Conditions {
		path := statusPath.Child("conditions").Index(i)
		if cond.ObservedGeneration < 0 {
			c.Invalid(path.Child("observedGeneration"), cond.ObservedGeneration, "must be a non-negative integer")
		}
		switch cond.Type {
		case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized:
		default:
			c.QualifiedName(path.Child("Type"), string(cond.Type))
		}
	}
	c.nomination(s, was, old.Spec.NodeName)
	if s.ObservedGeneration < 0 {
		c.Invalid(statusPath.Child("observedGeneration"), s.ObservedGeneration, "must be a non-negative integer")
	}
	c.Add(apivalidation.ValidateImmutableField(s.QOSClass, was.QOSClass, statusPath.Child("qosClass"))...)
	c.staysDone(s.ContainerStatuses, was.ContainerStatuses, old.Spec.Containers, &old.Spec, statusPath.Child("containerStatuses"))
	c.staysDone(s.InitContainerStatuses, was.InitContainerStatuses, old.Spec.InitContainers, &old.Spec, statusPath.Child("initContainerStatuses"))
	c.addresses(s, was)
	return c.Errors()
}

func (c *checker) nomination(s, was *corev1.PodStatus, node string) {
	path := statusPath.Child("nominatedNodeName")
	if s.NominatedNodeName == was.NominatedNodeName || s.NominatedNodeName == "" {
		return
	}
	c.Subdomain(path, s.NominatedNodeName)
	if node != "" {
		c.Forbidden(path, "may not be set on pods that are already bound to a node")
	}
}

// staysDone refuses to bring a container back whose restart policy keeps it down.
func (c *checker) staysDone(now, before []corev1.ContainerStatus, containers []corev1.Container, spec *corev1.PodSpec, path *field.Path) {
	if anyRestartsAll(spec) {
		return
	}
	for i, old := range before {
		if old.State.Terminated == nil {
			continue
		}
		j := slices.IndexFunc(now, func(s corev1.ContainerStatus) bool {
			return s.Name == old.Name && s.State.Terminated == nil
		})
		if j < 0 {
			continue
		}
		k := slices.IndexFunc(containers, func(ctr corev1.Container) bool { return ctr.Name == old.Name })
		if k < 0 || !restarts(&containers[k], spec, old.State.Terminated.ExitCode) {
			c.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state")
		}
	}
}

func anyRestartsAll(spec *corev1.PodSpec) bool {
	all := func(cs []corev1.Container) bool {
		return slices.ContainsFunc(cs, func(ctr corev1.Container) bool {
			return slices.ContainsFunc(ctr.RestartPolicyRules, func(r corev1.ContainerRestartRule) bool {
				return r.Action == corev1.ContainerRestartRuleActionRestartAllContainers
			})
		})
	}
	return all(spec.Containers) || all(spec.InitContainers)
}

// restarts tells whether a container that ended with the exit code is run again.
func restarts(ctr *corev1.Container, spec *corev1.PodSpec, code int32) bool {
	for _, r := range ctr.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		if slices.Contains(r.ExitCodes.Values, code) == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	policy := string(spec.RestartPolicy)
	if ctr.RestartPolicy != nil {
		policy = string(*ctr.RestartPolicy)
	}
	switch policy {
	case string(corev1.RestartPolicyAlways):
		return true
	case string(corev1.RestartPolicyOnFailure):
		return code != 0
	}
	return false
}

func (c *checker) addresses(s, was *corev1.PodStatus) {
	ips, old := make([]string, len(s.PodIPs)), make([]string, len(was.PodIPs))
	for i := range s.PodIPs {
		ips[i] = s.PodIPs[i].IP
	}
	for i := range was.PodIPs {
		old[i] = was.PodIPs[i].IP
	}
	path := statusPath.Child("podIPs")
	c.families(ips, old, s.PodIPs, path)
	switch {
	case (s.PodIP != "") != (len(ips) > 0):
		c.Invalid(path, s.PodIPs, "podIP and podIPs must either both be set or both be unset")
	case len(ips) > 0 && s.PodIP != ips[0]:
		c.Invalid(path.Index(0).Child("ip"), ips[0], "must be equal to `podIP`")
	}
	if len(s.HostIPs) == 0 {
		return
	}
	path = statusPath.Child("hostIPs")
	if s.HostIP != s.HostIPs[0].IP {
		c.Invalid(path.Index(0).Child("ip"), s.HostIPs[0].IP, "must be equal to `hostIP`")
	}
	ips, old = nil, nil
	for _, h := range s.HostIPs {
		ips = append(ips, h.IP)
	}
	for _, h := range was.HostIPs {
		old = append(old, h.IP)
	}
	c.families(ips, old, s.HostIPs, path)
}

func (c *checker) families(ips, old []string, value any, path *field.Path) {
	for i, ip := range ips {
		c.IP(path.Index(i), ip, old...)
	}
	if len(ips) < 2 {
		return
	}
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		c.Add(field.InternalError(path, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(ips) > 2 {
		c.Invalid(path, value, "may specify no more than one IP for each IP family")
	}
}
