package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var specPath = field.NewPath("spec")

// allocateService claims the cluster address and the node ports that a service needs, fills them
// in, and gives up those that old held and the service no longer has. A nil obj gives up all.
// An address is claimed for one family: the server has one service range.
func allocateService(_ context.Context, a apiserver.Allocator, obj, old client.Object) error {
	var o, was *corev1.Service
	if obj != nil {
		o = obj.(*corev1.Service)
	}
	if old != nil {
		was = old.(*corev1.Service)
	}
	if o != nil {
		if err := allocateAddress(a, o, was); err != nil {
			return err
		}
		if err := allocatePorts(a, &o.Spec, claimedPorts(was)); err != nil {
			return err
		}
	}
	release(a, o, was)
	return nil
}

func release(a apiserver.Allocator, o, was *corev1.Service) {
	now := claimedIPs(o)
	for _, ip := range claimedIPs(was) {
		if !slices.Contains(now, ip) {
			a.ReleaseIP(ip)
		}
	}
	ports := claimedPorts(o)
	for _, port := range claimedPorts(was) {
		if !slices.Contains(ports, port) {
			a.ReleaseNodePort(port, anyProtocol)
		}
	}
}

func claimedIPs(o *corev1.Service) []string {
	if o == nil || !wantsClusterIP(&o.Spec) || o.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	return o.Spec.ClusterIPs
}

// claimedPorts returns the node ports that o holds, that of the health check among them. A node port
// of a service of another type means nothing, and is not held.
func claimedPorts(o *corev1.Service) []int32 {
	if o == nil || !hasNodePorts(o.Spec.Type) {
		return nil
	}
	out := nodePorts(&o.Spec)
	if p := o.Spec.HealthCheckNodePort; p != 0 && wantsHealthCheckPort(&o.Spec) {
		out = append(out, p)
	}
	return out
}

func allocateAddress(a apiserver.Allocator, o, was *corev1.Service) error {
	s := &o.Spec
	if !wantsClusterIP(s) {
		return nil
	}
	headless := s.ClusterIP == corev1.ClusterIPNone
	if s.IPFamilyPolicy == nil {
		s.IPFamilyPolicy = defaultFamilyPolicy(s, was, headless)
	}
	if len(s.ClusterIPs) == 2 || len(s.IPFamilies) == 2 || *s.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack {
		if !headless || len(s.Selector) > 0 {
			return field.Invalid(specPath.Child("ipFamilyPolicy"), s.IPFamilyPolicy, "this cluster is not configured for dual-stack services")
		}
	}
	if headless {
		return headlessFamilies(a, s)
	}
	return claimAddress(a, s, claimedIPs(was))
}

func defaultFamilyPolicy(s *corev1.ServiceSpec, was *corev1.Service, headless bool) *corev1.IPFamilyPolicy {
	switch {
	case was != nil && was.Spec.IPFamilyPolicy != nil:
		return ptr.To(*was.Spec.IPFamilyPolicy)
	case headless && len(s.Selector) == 0:
		return ptr.To(corev1.IPFamilyPolicyRequireDualStack) // whoever makes its endpoints may use both
	}
	return ptr.To(corev1.IPFamilyPolicySingleStack)
}

func headlessFamilies(a apiserver.Allocator, s *corev1.ServiceSpec) error {
	own := a.Family()
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{own}
	}
	if len(s.Selector) > 0 {
		return checkFamily(s, own)
	}
	if len(s.IPFamilies) == 1 && *s.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		s.IPFamilies = append(slices.Clone(s.IPFamilies), otherFamily(s.IPFamilies[0]))
	}
	return nil
}

func checkFamily(s *corev1.ServiceSpec, own corev1.IPFamily) error {
	if len(s.IPFamilies) > 0 && s.IPFamilies[0] != own {
		return field.Invalid(specPath.Child("ipFamilies").Index(0), s.IPFamilies[0], "not configured on this cluster")
	}
	return nil
}

func claimAddress(a apiserver.Allocator, s *corev1.ServiceSpec, held []string) error {
	own := a.Family()
	if s.ClusterIP != "" && len(s.IPFamilies) == 0 && familyOf(s.ClusterIP) != own {
		return field.Invalid(specPath.Child("clusterIPs").Index(0), s.ClusterIPs,
			fmt.Sprintf("%s is not configured on this cluster", familyOf(s.ClusterIP)))
	}
	if err := checkFamily(s, own); err != nil {
		return err
	}
	s.IPFamilies = []corev1.IPFamily{own}
	if slices.Contains(held, s.ClusterIP) {
		return nil
	}
	ip, err := a.IP(s.ClusterIP)
	if err != nil {
		what := "failed to allocate IP: "
		if s.ClusterIP != "" {
			what = "failed to allocate IP " + s.ClusterIP + ": "
		}
		return field.Invalid(specPath.Child("clusterIPs"), s.ClusterIPs, what+detail(err))
	}
	s.ClusterIP, s.ClusterIPs = ip, []string{ip}
	return nil
}

// anyProtocol claims a node port whatever the protocol: as in Kubernetes, a number belongs to one
// service, which may use it for several protocols.
const anyProtocol = ""

func allocatePorts(a apiserver.Allocator, s *corev1.ServiceSpec, held []int32) error {
	if hasNodePorts(s.Type) {
		if err := allocateNodePorts(a, s, held); err != nil {
			return err
		}
	}
	if !wantsHealthCheckPort(s) || s.HealthCheckNodePort != 0 && slices.Contains(held, s.HealthCheckNodePort) {
		return nil
	}
	port, err := a.NodePort(s.HealthCheckNodePort, anyProtocol)
	if err != nil {
		return field.Invalid(specPath.Child("healthCheckNodePort"), s.HealthCheckNodePort, detail(err))
	}
	s.HealthCheckNodePort = port
	return nil
}

// allocateNodePorts claims the ports that are asked for before it chooses others. Ports with one
// number and several protocols share a node port.
func allocateNodePorts(a apiserver.Allocator, s *corev1.ServiceSpec, held []int32) error {
	shared := map[int32]int32{}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.NodePort == 0 {
			continue
		}
		if !slices.Contains(held, p.NodePort) {
			if _, err := a.NodePort(p.NodePort, anyProtocol); err != nil {
				return field.Invalid(specPath.Child("ports").Index(i).Child("nodePort"), p.NodePort, detail(err))
			}
			held = append(slices.Clone(held), p.NodePort)
		}
		if shared[p.Port] == 0 {
			shared[p.Port] = p.NodePort
		}
	}
	if !wantsNodePorts(s) {
		return nil
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		if shared[p.Port] == 0 {
			port, err := a.NodePort(0, anyProtocol)
			if err != nil {
				return field.InternalError(specPath.Child("ports").Index(i).Child("nodePort"), fmt.Errorf("failed to allocate a nodePort: %w", err))
			}
			shared[p.Port] = port
		}
		p.NodePort = shared[p.Port]
	}
	return nil
}

func detail(err error) string {
	if e := (*field.Error)(nil); errors.As(err, &e) {
		return e.Detail
	}
	return err.Error()
}

func familyOf(ip string) corev1.IPFamily {
	if netutils.IsIPv6String(ip) {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func otherFamily(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}
