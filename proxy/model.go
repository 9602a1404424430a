package proxy

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ServicePort is one port of one Service in one address family: all that the rules depend on.
type ServicePort struct {
	Namespace, Name string
	// PortName is the port's name; a Service's only port may have none.
	PortName string
	Protocol corev1.Protocol

	// ClusterIP and Port are where clients inside the cluster connect to.
	ClusterIP netip.Addr
	Port      uint16
	// NodePort is the port on each address of the node, 0 for none.
	NodePort uint16
	// ExternalIPs and LoadBalancerIPs are further addresses at which Port is reached.
	ExternalIPs, LoadBalancerIPs []netip.Addr
	// SourceRanges, when there are any, are the only clients that LoadBalancerIPs let in.
	SourceRanges []netip.Prefix

	// InternalLocal and ExternalLocal are the traffic policies Local: clients inside and outside
	// the cluster reach endpoints on this node only.
	InternalLocal, ExternalLocal bool
	// HealthCheckNodePort is where load balancers ask whether this node has endpoints; 0 for none.
	HealthCheckNodePort uint16
	// Affinity keeps a client at one endpoint until it has been away that long; 0 does not.
	Affinity time.Duration

	// Endpoints are all endpoints that may get traffic, each address once, in order.
	Endpoints []Endpoint
}

// Endpoint is one place that answers for a ServicePort.
type Endpoint struct {
	Addr netip.AddrPort
	// Local tells that it runs on this node.
	Local bool
	// Ready endpoints get traffic. When a Service has none, those that terminate but still serve
	// get it (KEP-1669).
	Ready, Serving, Terminating bool
}

// String returns "namespace/name:port", as in messages and comments of rules.
func (p *ServicePort) String() string {
	s := p.Namespace + "/" + p.Name
	if p.PortName != "" {
		s += ":" + p.PortName
	}
	return s
}

// ClusterEndpoints returns the endpoints that traffic goes to under the policy Cluster.
func (p *ServicePort) ClusterEndpoints() []Endpoint {
	return choose(p.Endpoints, func(Endpoint) bool { return true })
}

// LocalEndpoints returns the endpoints that traffic goes to under the policy Local. While there is
// one of these, there is one under Cluster too.
func (p *ServicePort) LocalEndpoints() []Endpoint {
	return choose(p.Endpoints, func(e Endpoint) bool { return e.Local })
}

// choose returns the ready endpoints, or if none is ready those that terminate but still serve.
func choose(all []Endpoint, eligible func(Endpoint) bool) []Endpoint {
	var ready, draining []Endpoint
	for _, e := range all {
		switch {
		case !eligible(e):
		case e.Ready:
			ready = append(ready, e)
		case e.Serving && e.Terminating:
			draining = append(draining, e)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return draining
}

// external tells whether the port is reached from outside the cluster.
func (p *ServicePort) external() bool {
	return p.NodePort != 0 || len(p.ExternalIPs) > 0 || len(p.LoadBalancerIPs) > 0
}
