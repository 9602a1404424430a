package proxy

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// flows collects the UDP services.
func (r *renderer) flows() *Flows {
	f := &Flows{Family: r.cfg.Family, Services: map[netip.AddrPort][]netip.AddrPort{}, NodePorts: map[uint16][]netip.AddrPort{}}
	for _, p := range r.pieces {
		for i := range p.ports {
			if p.ports[i].Protocol == corev1.ProtocolUDP {
				f.add(&p.ports[i])
			}
		}
	}
	return f
}

func (f *Flows) add(p *ServicePort) {
	var to []netip.AddrPort
	for _, e := range union(p.ClusterEndpoints(), p.LocalEndpoints()) {
		to = append(to, e.Addr)
	}
	for _, a := range slices.Concat([]netip.Addr{p.ClusterIP}, p.ExternalIPs, p.LoadBalancerIPs) {
		f.Services[netip.AddrPortFrom(a, p.Port)] = to
	}
	if p.NodePort != 0 {
		f.NodePorts[p.NodePort] = to
	}
}

// staleSince returns what to look at after old became f: the services whose endpoints are not what
// they were, and with no endpoints those that are gone. A service that got its first endpoints
// counts, as flows from before may be on their way to nowhere.
func (f *Flows) staleSince(old *Flows) *Flows {
	return &Flows{
		Family:    f.Family,
		Services:  changed(f.Services, old.Services),
		NodePorts: changed(f.NodePorts, old.NodePorts),
	}
}

func changed[K comparable](now, old map[K][]netip.AddrPort) map[K][]netip.AddrPort {
	out := map[K][]netip.AddrPort{}
	for k, to := range now {
		if before, had := old[k]; !had || !slices.Equal(to, before) {
			out[k] = to
		}
	}
	for k := range maps.Keys(old) {
		if _, has := now[k]; !has {
			out[k] = nil
		}
	}
	return out
}
