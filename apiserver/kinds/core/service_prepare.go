package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// prepareService infers what a client means that leaves linked fields out: the singular and the
// plural cluster address, what the server once allocated, and what no longer fits a changed type.
func prepareService(o, old *corev1.Service) {
	dropInternalTrafficPolicy(&o.Spec)
	if old == nil {
		if o.Spec.ClusterIP != "" && len(o.Spec.ClusterIPs) == 0 {
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
		}
		return
	}
	s, was := &o.Spec, &old.Spec
	linkClusterIPs(s, was)
	keepAllocated(s, was)
	dropUnfit(s, was)
	if s.Type != corev1.ServiceTypeLoadBalancer {
		o.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

// dropInternalTrafficPolicy drops what an ExternalName has no use for, unless it is none of the policies: then
// validation says so. Kubernetes stores it all the same and leaves it out when it shows the service.
func dropInternalTrafficPolicy(s *corev1.ServiceSpec) {
	if p := s.InternalTrafficPolicy; s.Type == corev1.ServiceTypeExternalName && p != nil &&
		(*p == corev1.ServiceInternalTrafficPolicyCluster || *p == corev1.ServiceInternalTrafficPolicyLocal) {
		s.InternalTrafficPolicy = nil
	}
}

// linkClusterIPs makes clusterIPs follow a client that only knows clusterIP.
func linkClusterIPs(s, was *corev1.ServiceSpec) {
	untouched := slices.Equal(s.ClusterIPs, was.ClusterIPs)
	switch {
	case s.ClusterIP == was.ClusterIP:
		if len(s.ClusterIPs) == 0 {
			s.ClusterIPs = slices.Clone(was.ClusterIPs)
		}
	case was.ClusterIP != "" && s.ClusterIP == "":
		if untouched {
			s.ClusterIPs = nil
		}
	case untouched:
		s.ClusterIPs = []string{s.ClusterIP}
	}
}

// keepAllocated carries over what the server chose and the client did not repeat.
func keepAllocated(s, was *corev1.ServiceSpec) {
	if wantsClusterIP(s) && wantsClusterIP(was) {
		if s.ClusterIP == "" {
			s.ClusterIP = was.ClusterIP
		}
		if len(s.ClusterIPs) == 0 {
			s.ClusterIPs = slices.Clone(was.ClusterIPs)
		}
	}
	if wantsNodePorts(s) && wantsNodePorts(was) {
		keepNodePorts(s, was)
	}
	if wantsHealthCheckPort(s) && wantsHealthCheckPort(was) && s.HealthCheckNodePort == 0 {
		s.HealthCheckNodePort = was.HealthCheckNodePort
	}
}

// keepNodePorts matches ports by name; a node port that another port now asks for stays there.
func keepNodePorts(s, was *corev1.ServiceSpec) {
	before := nodePorts(was)
	taken := map[int32]bool{}
	for _, n := range nodePorts(s) {
		taken[n] = slices.Contains(before, n)
	}
	byName := map[string]int32{}
	for _, p := range was.Ports {
		byName[p.Name] = p.NodePort
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if n := byName[p.Name]; p.NodePort == 0 && !taken[n] {
			p.NodePort = n
		}
	}
}

// dropUnfit clears what the type before used and the type now can't, unless the client changed
// that too: then validation says so.
func dropUnfit(s, was *corev1.ServiceSpec) {
	if wantsClusterIP(was) && !wantsClusterIP(s) {
		dropAddresses(s, was)
	}
	if hasNodePorts(was.Type) && !hasNodePorts(s.Type) && subset(nodePorts(s), nodePorts(was)) {
		for i := range s.Ports {
			s.Ports[i].NodePort = 0
		}
	}
	if wantsHealthCheckPort(was) && !wantsHealthCheckPort(s) && s.HealthCheckNodePort == was.HealthCheckNodePort {
		s.HealthCheckNodePort = 0
	}
	if was.Type == corev1.ServiceTypeLoadBalancer && s.Type != corev1.ServiceTypeLoadBalancer {
		if was.AllocateLoadBalancerNodePorts != nil && ptr.Equal(s.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts) {
			s.AllocateLoadBalancerNodePorts = nil
		}
		if ptr.Equal(s.LoadBalancerClass, was.LoadBalancerClass) {
			s.LoadBalancerClass = nil
		}
	}
	if externallyReachable(was) && !externallyReachable(s) && s.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		s.ExternalTrafficPolicy = ""
	}
}

func dropAddresses(s, was *corev1.ServiceSpec) {
	if s.ClusterIP == was.ClusterIP && slices.Equal(s.ClusterIPs, was.ClusterIPs) {
		s.ClusterIP, s.ClusterIPs = "", nil
	}
	if slices.Equal(s.IPFamilies, was.IPFamilies) {
		s.IPFamilies = nil
	}
	if ptr.Equal(s.IPFamilyPolicy, was.IPFamilyPolicy) {
		s.IPFamilyPolicy = nil
	}
}

func wantsClusterIP(s *corev1.ServiceSpec) bool { return s.Type != corev1.ServiceTypeExternalName }

// wantsNodePorts tells whether ports without a node port get one.
func wantsNodePorts(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeLoadBalancer && ptr.Deref(s.AllocateLoadBalancerNodePorts, true)
}

func wantsHealthCheckPort(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer && s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// nodePorts returns the node ports that are set, each once.
func nodePorts(s *corev1.ServiceSpec) []int32 {
	var out []int32
	for _, p := range s.Ports {
		if p.NodePort != 0 && !slices.Contains(out, p.NodePort) {
			out = append(out, p.NodePort)
		}
	}
	return out
}

func subset(a, b []int32) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
