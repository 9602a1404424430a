package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// defaultAffinity is the timeout of session affinity when the Service names none: three hours.
const defaultAffinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second

// Translate returns the ports of a Service in one address family. endpointSlices are the EndpointSlices of
// the Service, in any order; those of other address types are passed over, as are addresses and
// ports that are not well-formed. nodeName is the node whose endpoints are local. Headless Services
// and those of type ExternalName have no ports here, as nothing is routed for them, and neither
// have those that the label service.kubernetes.io/service-proxy-name hands to another proxy.
func Translate(svc *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, family Family, nodeName string) []ServicePort {
	clusterIP, ok := clusterIPOf(svc, family)
	if !ok {
		return nil
	}
	base := ServicePort{
		Namespace: svc.Namespace, Name: svc.Name, ClusterIP: clusterIP,
		ExternalIPs:     family.addrs(svc.Spec.ExternalIPs),
		LoadBalancerIPs: loadBalancerIPs(svc, family),
		InternalLocal:   is(svc.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyLocal),
		Affinity:        affinityOf(svc),
	}
	base.ExternalLocal = svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if base.ExternalLocal && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		base.HealthCheckNodePort, _ = portNumber(svc.Spec.HealthCheckNodePort)
	}
	if len(base.LoadBalancerIPs) > 0 {
		base.SourceRanges = sourceRanges(svc, family)
	}
	var out []ServicePort
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		p := base
		p.PortName, p.Protocol = sp.Name, cmp.Or(sp.Protocol, corev1.ProtocolTCP)
		var ok bool
		if p.Port, ok = portNumber(sp.Port); !ok || p.protocol() == "" {
			continue
		}
		p.NodePort, _ = portNumber(sp.NodePort)
		p.Endpoints = endpointsOf(endpointSlices, sp.Name, p.Protocol, family, nodeName)
		out = append(out, p)
	}
	return out
}

func is[T comparable](p *T, want T) bool { return p != nil && *p == want }

// or returns what p points at, and def when it points nowhere.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

func clusterIPOf(svc *corev1.Service, family Family) (netip.Addr, bool) {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Labels[labelProxyName] != "" {
		return netip.Addr{}, false
	}
	for _, s := range append(slices.Clone(svc.Spec.ClusterIPs), svc.Spec.ClusterIP) {
		if a, ok := family.addr(s); ok {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// loadBalancerIPs leaves out addresses whose load balancer hands packets on as from itself.
func loadBalancerIPs(svc *corev1.Service, family Family) (out []netip.Addr) {
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if is(in.IPMode, corev1.LoadBalancerIPModeProxy) {
			continue
		}
		if a, ok := family.addr(in.IP); ok {
			out = append(out, a)
		}
	}
	return out
}

// sourceRanges returns the allowed clients; none means all.
func sourceRanges(svc *corev1.Service, family Family) (out []netip.Prefix) {
	for _, s := range svc.Spec.LoadBalancerSourceRanges {
		if p, err := netip.ParsePrefix(s); err == nil && family.has(p.Addr()) {
			if p.Bits() == 0 {
				return nil
			}
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

func affinityOf(svc *corev1.Service) time.Duration {
	if svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := svc.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && or(c.ClientIP.TimeoutSeconds, 0) > 0 {
		return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
	}
	return defaultAffinity
}

func portNumber(n int32) (uint16, bool) {
	if n <= 0 || n >= 1<<16 {
		return 0, false
	}
	return uint16(n), true
}

// endpointsOf returns the endpoints that the slices list for a port, each address once. An address
// that two slices list, which happens while it moves from one to the other, is in the better of its
// states.
func endpointsOf(list []*discoveryv1.EndpointSlice, port string, proto corev1.Protocol, family Family, nodeName string) []Endpoint {
	byAddr := map[netip.AddrPort]Endpoint{}
	for _, s := range list {
		number, ok := slicePort(s, port, proto)
		if !ok || s.AddressType != discoveryv1.AddressType(family.String()) {
			continue
		}
		for i := range s.Endpoints {
			e, ok := endpointOf(&s.Endpoints[i], number, family, nodeName)
			if !ok {
				continue
			}
			if old, had := byAddr[e.Addr]; !had || e.rank() > old.rank() {
				byAddr[e.Addr] = e
			}
		}
	}
	out := make([]Endpoint, 0, len(byAddr))
	for _, e := range byAddr {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	return out
}

func slicePort(s *discoveryv1.EndpointSlice, name string, proto corev1.Protocol) (uint16, bool) {
	for i := range s.Ports {
		p := &s.Ports[i]
		if or(p.Name, "") == name && or(p.Protocol, corev1.ProtocolTCP) == proto && p.Port != nil {
			return portNumber(*p.Port)
		}
	}
	return 0, false
}

// endpointOf reads one endpoint. All its addresses are the same place, and the API asks consumers
// to use the first. Conditions that are not told count as ready.
func endpointOf(e *discoveryv1.Endpoint, port uint16, family Family, nodeName string) (Endpoint, bool) {
	if len(e.Addresses) == 0 {
		return Endpoint{}, false
	}
	a, ok := family.addr(e.Addresses[0])
	if !ok {
		return Endpoint{}, false
	}
	ready := or(e.Conditions.Ready, true)
	return Endpoint{
		Addr:        netip.AddrPortFrom(a, port),
		Local:       nodeName != "" && or(e.NodeName, "") == nodeName,
		Ready:       ready,
		Serving:     or(e.Conditions.Serving, ready),
		Terminating: or(e.Conditions.Terminating, false),
	}, true
}

// rank orders the states of an endpoint; the order is total, so that the result does not depend on
// the order of slices.
func (e Endpoint) rank() (r int) {
	for i, better := range []bool{e.Local, !e.Terminating, e.Serving, e.Ready} {
		if better {
			r |= 1 << i
		}
	}
	return r
}
