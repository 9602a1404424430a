package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func isHeadless(s *corev1.ServiceSpec) bool {
	return len(s.ClusterIPs) == 1 && s.ClusterIPs[0] == corev1.ClusterIPNone
}

// serviceChecker gathers the errors of one service.
type serviceChecker struct {
	check.List
	s   *corev1.ServiceSpec
	was *corev1.ServiceSpec // nil for a new service
}

func validateService(o, old *corev1.Service) field.ErrorList {
	c := &serviceChecker{s: &o.Spec}
	if old != nil {
		c.was = &old.Spec
		c.update()
	}
	c.kind()
	c.ports()
	if c.s.Selector != nil {
		c.Add(metavalidation.ValidateLabels(c.s.Selector, specPath.Child("selector"))...)
	}
	c.affinity()
	c.clusterIPs()
	c.externalIPs()
	check.Enum(&c.List, specPath.Child("type"), c.s.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	c.nodePorts()
	c.uniquePorts()
	c.loadBalancer()
	c.traffic()
	return c.Errors()
}

// kind checks what each type of service needs and can't have.
func (c *serviceChecker) kind() {
	s := c.s
	if len(s.Ports) == 0 && !isHeadless(s) && s.Type != corev1.ServiceTypeExternalName {
		c.Required(specPath.Child("ports"), "")
	}
	switch s.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if isHeadless(s) {
			c.Invalid(specPath.Child("clusterIPs").Index(0), s.ClusterIPs[0], fmt.Sprintf("may not be set to 'None' for %s services", s.Type))
		}
	case corev1.ServiceTypeExternalName:
		const detail = "may not be set for ExternalName services"
		if len(s.ClusterIPs) > 0 {
			c.Forbidden(specPath.Child("clusterIPs"), detail)
		}
		if len(s.IPFamilies) > 0 {
			c.Forbidden(specPath.Child("ipFamilies"), detail)
		}
		if s.IPFamilyPolicy != nil {
			c.Forbidden(specPath.Child("ipFamilyPolicy"), detail)
		}
		if name := strings.TrimSuffix(s.ExternalName, "."); name != "" {
			c.Subdomain(specPath.Child("externalName"), name)
		} else {
			c.Required(specPath.Child("externalName"), "")
		}
	}
}

func (c *serviceChecker) ports() {
	names := map[string]bool{}
	for i, p := range c.s.Ports {
		path := specPath.Child("ports").Index(i)
		if p.Name == "" {
			if len(c.s.Ports) > 1 {
				c.Required(path.Child("name"), "")
			}
		} else {
			c.Label(path.Child("name"), p.Name)
			if names[p.Name] {
				c.Add(field.Duplicate(path.Child("name"), p.Name))
			}
			names[p.Name] = true
		}
		c.Port(path.Child("port"), p.Port)
		check.Enum(&c.List, path.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
		c.PortOrName(path.Child("targetPort"), p.TargetPort)
		if p.AppProtocol != nil {
			c.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)
		}
	}
}

func (c *serviceChecker) affinity() {
	s, path := c.s, specPath.Child("sessionAffinityConfig")
	check.Enum(&c.List, specPath.Child("sessionAffinity"), s.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	switch s.SessionAffinity {
	case corev1.ServiceAffinityNone:
		if s.SessionAffinityConfig != nil {
			c.Forbidden(path, "must not be set when session affinity is None")
		}
	case corev1.ServiceAffinityClientIP:
		const detail = "when session affinity type is ClientIP"
		switch config := s.SessionAffinityConfig; {
		case config == nil:
			c.Required(path, detail)
		case config.ClientIP == nil:
			c.Required(path.Child("clientIP"), detail)
		case config.ClientIP.TimeoutSeconds == nil:
			c.Required(path.Child("clientIP", "timeoutSeconds"), detail)
		default:
			if t := config.ClientIP.TimeoutSeconds; *t <= 0 || *t > 86400 {
				c.Invalid(path.Child("clientIP", "timeoutSeconds"), t, "must be greater than 0 and less than 86400")
			}
		}
	}
}

func (c *serviceChecker) externalIPs() {
	var old []string
	if c.was != nil {
		old = c.was.ExternalIPs
	}
	for i, ip := range c.s.ExternalIPs {
		path, before := specPath.Child("externalIPs").Index(i), len(c.List)
		if c.IP(path, ip, old...); len(c.List) == before {
			c.EndpointIP(path, ip)
		}
	}
}

func (c *serviceChecker) nodePorts() {
	type key struct {
		protocol corev1.Protocol
		port     int32
	}
	path, taken := specPath.Child("ports"), map[key]bool{}
	for i, p := range c.s.Ports {
		if p.NodePort != 0 && c.s.Type == corev1.ServiceTypeClusterIP {
			c.Forbidden(path.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'")
		}
	}
	for i, p := range c.s.Ports {
		if p.NodePort == 0 {
			continue
		}
		if taken[key{p.Protocol, p.NodePort}] {
			c.Add(field.Duplicate(path.Index(i).Child("nodePort"), p.NodePort))
		}
		taken[key{p.Protocol, p.NodePort}] = true
	}
}

func (c *serviceChecker) uniquePorts() {
	for i, p := range c.s.Ports {
		same := func(o corev1.ServicePort) bool { return o.Protocol == p.Protocol && o.Port == p.Port }
		if slices.ContainsFunc(c.s.Ports[:i], same) {
			c.Add(field.Duplicate(specPath.Child("ports").Index(i), corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}))
		}
	}
}

func (c *serviceChecker) loadBalancer() {
	s := c.s
	const detail = "may only be used when `type` is 'LoadBalancer'"
	is := s.Type == corev1.ServiceTypeLoadBalancer
	if path := specPath.Child("LoadBalancerSourceRanges"); len(s.LoadBalancerSourceRanges) > 0 {
		if !is {
			c.Forbidden(path, detail)
		}
		for i, r := range s.LoadBalancerSourceRanges {
			c.CIDR(path.Index(i), strings.TrimSpace(r))
		}
	}
	if s.AllocateLoadBalancerNodePorts != nil && !is {
		c.Forbidden(specPath.Child("allocateLoadBalancerNodePorts"), detail)
	}
	if s.AllocateLoadBalancerNodePorts == nil && is {
		c.Required(field.NewPath("allocateLoadBalancerNodePorts"), "")
	}
	c.loadBalancerClass(detail)
}

func (c *serviceChecker) loadBalancerClass(detail string) {
	class, path := c.s.LoadBalancerClass, specPath.Child("loadBalancerClass")
	switch {
	case class == nil:
	case c.s.Type == corev1.ServiceTypeLoadBalancer:
		c.QualifiedName(path, *class)
	default:
		c.Forbidden(path, detail)
	}
}

func (c *serviceChecker) traffic() {
	s := c.s
	external, health := specPath.Child("externalTrafficPolicy"), specPath.Child("healthCheckNodePort")
	if externallyReachable(s) {
		check.Enum(&c.List, external, s.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	} else if s.ExternalTrafficPolicy != "" {
		c.Invalid(external, s.ExternalTrafficPolicy, "may only be set for externally-accessible services")
	}
	// The server chooses a port where one is missing, after this.
	if s.HealthCheckNodePort != 0 {
		if wantsHealthCheckPort(s) {
			c.Port(health, s.HealthCheckNodePort)
		} else {
			c.Invalid(health, s.HealthCheckNodePort, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")
		}
	}
	if internal := specPath.Child("internalTrafficPolicy"); s.InternalTrafficPolicy != nil {
		check.Supported(&c.List, internal, *s.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
	} else if hasClusterIP(s.Type) {
		c.Required(internal, "")
	}
	if d := s.TrafficDistribution; d != nil {
		check.Supported(&c.List, specPath.Child("trafficDistribution"), *d, corev1.ServiceTrafficDistributionPreferClose,
			corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)
	}
}

// update checks what may not change.
func (c *serviceChecker) update() {
	s, was := c.s, c.was
	if s.Type != corev1.ServiceTypeExternalName && was.Type != corev1.ServiceTypeExternalName {
		c.sameClusterIPs()
		c.sameFamilies()
	}
	if s.Type == corev1.ServiceTypeLoadBalancer && was.Type == s.Type && !ptr.Equal(s.LoadBalancerClass, was.LoadBalancerClass) {
		c.Invalid(specPath.Child("loadBalancerClass"), s.LoadBalancerClass, "may not change once set")
	}
	c.loadBalancerClass("may only be used when `type` is 'LoadBalancer'")
	if wantsHealthCheckPort(s) && wantsHealthCheckPort(was) && s.HealthCheckNodePort != was.HealthCheckNodePort {
		c.Forbidden(specPath.Child("healthCheckNodePort"), "field is immutable")
	}
}
