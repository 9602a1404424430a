package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// protocol returns the name of the protocol in rules, "" for one that can't be routed.
func (p *ServicePort) protocol() string {
	name := strings.ToLower(string(p.Protocol))
	if protocolNumbers[name] == 0 {
		return ""
	}
	return name
}

// equal tells whether two ports amount to the same rules.
func (p ServicePort) equal(q ServicePort) bool {
	return p.Namespace == q.Namespace && p.Name == q.Name && p.PortName == q.PortName &&
		p.Protocol == q.Protocol && p.ClusterIP == q.ClusterIP && p.Port == q.Port && p.NodePort == q.NodePort &&
		p.InternalLocal == q.InternalLocal && p.ExternalLocal == q.ExternalLocal && p.Affinity == q.Affinity && p.HealthCheckNodePort == q.HealthCheckNodePort &&
		slices.Equal(p.ExternalIPs, q.ExternalIPs) && slices.Equal(p.LoadBalancerIPs, q.LoadBalancerIPs) &&
		slices.Equal(p.SourceRanges, q.SourceRanges) && slices.Equal(p.Endpoints, q.Endpoints)
}

// dst matches a destination of the port.
func (p *ServicePort) dst(a netip.Addr) string {
	return "-d " + netip.PrefixFrom(a, a.BitLen()).String() + " " + p.dport(p.Port)
}

func (p *ServicePort) dport(port uint16) string {
	proto := p.protocol()
	return "-p " + proto + " -m " + proto + " --dport " + strconv.Itoa(int(port))
}

// port adds the rules of one service port to the piece.
func (r *renderer) port(p *piece, sp *ServicePort) {
	if sp.protocol() == "" {
		return
	}
	cluster := sp.ClusterEndpoints()
	var local []Endpoint
	if sp.InternalLocal || sp.ExternalLocal && sp.external() {
		local = sp.LocalEndpoints()
	}
	r.refuse(p, sp, len(cluster) > 0, len(local) > 0)
	if len(cluster) == 0 {
		return
	}
	chains := map[netip.AddrPort]string{}
	for _, e := range union(cluster, local) {
		chains[e.Addr] = r.names.endpoint(sp, e)
		p.nat = append(p.nat, r.endpoint(sp, e, chains[e.Addr]))
	}
	inner := cluster
	class := "SVC"
	if sp.InternalLocal {
		inner, class = local, "SVL"
	}
	if !sp.InternalLocal || sp.external() {
		p.nat = append(p.nat, r.spread("SVC", sp, cluster, chains, !sp.InternalLocal))
	}
	if len(local) > 0 {
		p.nat = append(p.nat, r.spread("SVL", sp, local, chains, sp.InternalLocal))
	}
	if len(inner) > 0 {
		p.services = append(p.services, sp.entry(sp.ClusterIP, "cluster IP", "-j "+r.names.service(class, sp)))
	}
	if sp.external() {
		r.outside(p, sp, len(local) > 0)
	}
}

func union(a, b []Endpoint) []Endpoint {
	out := slices.Clone(a)
	for _, e := range b {
		if !slices.Contains(a, e) {
			out = append(out, e)
		}
	}
	return out
}

// entry is the rule for packets to the port at one address.
func (p *ServicePort) entry(a netip.Addr, what, target string) entry {
	return entry{key: addrKey(a), rule: p.dst(a) + " " + comment(p.String()+" "+what) + " " + target}
}

// endpoint is the chain that sends packets to one endpoint. One that calls itself through its own
// service is masqueraded: it would otherwise answer itself directly, from the wrong address.
func (r *renderer) endpoint(sp *ServicePort, e Endpoint, name string) Chain {
	host := netip.PrefixFrom(e.Addr.Addr(), e.Addr.Addr().BitLen()).String()
	dnat := "-p " + sp.protocol() + " -j DNAT --to-destination " + e.Addr.String()
	if sp.Affinity > 0 {
		dnat = "-m recent --name " + name + " --set --rsource " + dnat
	}
	return Chain{Name: name, Rules: []string{"-s " + host + r.masquerade(), dnat}}
}

// spread is the chain that picks an endpoint: with affinity the one that served the client before,
// else each with the same probability, as the i-th of n rules gets one of n-i packets that reach it.
// chains are the names of the endpoints' chains.
func (r *renderer) spread(class string, sp *ServicePort, endpoints []Endpoint, chains map[netip.AddrPort]string, forClusterIP bool) Chain {
	c := Chain{Name: r.names.service(class, sp)}
	if forClusterIP {
		c.Rules = r.outsiders(sp)
	}
	if sp.Affinity > 0 {
		for _, e := range endpoints {
			name := chains[e.Addr]
			c.Rules = append(c.Rules, fmt.Sprintf("-m recent --name %s --rcheck --seconds %d --reap --rsource -j %s", name, int(sp.Affinity.Seconds()), name))
		}
	}
	for i, e := range endpoints {
		rule := comment(sp.String()+" -> "+e.Addr.String()) + " "
		if left := len(endpoints) - i; left > 1 {
			rule += "-m statistic --mode random --probability " + strconv.FormatFloat(1/float64(left), 'f', 10, 64) + " "
		}
		c.Rules = append(c.Rules, rule+"-j "+chains[e.Addr])
	}
	return c
}

// masquerade is the target that marks packets for it. It is not a chain of its own, as others have:
// nf_tables follows each jump of a table before it accepts a change to it.
func (r *renderer) masquerade() string { return " -j MARK --or-mark " + r.mark }

// outsiders are the rules that masquerade clients of the cluster IP that are no pods.
func (r *renderer) outsiders(sp *ServicePort) []string {
	dst := sp.dst(sp.ClusterIP)
	switch {
	case r.cfg.MasqueradeAll:
		return []string{dst + r.masquerade()}
	case len(r.cfg.ClusterCIDRs) == 1:
		return []string{"! -s " + r.cfg.ClusterCIDRs[0].String() + " " + dst + r.masquerade()}
	case len(r.cfg.ClusterCIDRs) > 1:
		return []string{dst + " -j " + r.names.fixed("MARK-OUTSIDER")}
	}
	return nil
}

// outside adds what clients outside the cluster use: node ports, external IPs, load balancers.
func (r *renderer) outside(p *piece, sp *ServicePort, anyLocal bool) {
	svc := r.names.service("SVC", sp)
	ext := Chain{Name: r.names.service("EXT", sp)}
	if sp.ExternalLocal {
		// Pods and the node itself are inside: the policy is not meant for them.
		for _, cidr := range r.cfg.ClusterCIDRs {
			ext.Rules = append(ext.Rules, "-s "+cidr.String()+" -j "+svc)
		}
		ext.Rules = append(ext.Rules,
			"-m addrtype --src-type LOCAL"+r.masquerade(),
			"-m addrtype --src-type LOCAL -j "+svc)
		if anyLocal {
			ext.Rules = append(ext.Rules, "-j "+r.names.service("SVL", sp))
		}
	} else {
		ext.Rules = append(ext.Rules, r.masquerade()[1:], "-j "+svc)
	}
	p.nat = append(p.nat, ext)
	for _, a := range sp.ExternalIPs {
		p.services = append(p.services, sp.entry(a, "external IP", "-j "+ext.Name))
	}
	if sp.NodePort != 0 {
		p.nodePorts = append(p.nodePorts, entry{
			key:  portKey(sp.protocol(), sp.NodePort),
			rule: sp.dport(sp.NodePort) + " " + comment(sp.String()+" node port") + " -j " + ext.Name,
		})
	}
	r.loadBalancer(p, sp, ext.Name)
}

// loadBalancer adds the addresses of load balancers. Where only some clients are let in, packets of
// others keep their destination, and by that are told apart and dropped in the filter table.
func (r *renderer) loadBalancer(p *piece, sp *ServicePort, target string) {
	if len(sp.LoadBalancerIPs) == 0 {
		return
	}
	if len(sp.SourceRanges) > 0 {
		fw := Chain{Name: r.names.service("FW", sp)}
		for _, cidr := range sp.SourceRanges {
			fw.Rules = append(fw.Rules, "-s "+cidr.String()+" -j "+target)
		}
		p.nat = append(p.nat, fw)
		target = fw.Name
	}
	for _, a := range sp.LoadBalancerIPs {
		p.services = append(p.services, sp.entry(a, "load balancer", "-j "+target))
		if len(sp.SourceRanges) > 0 {
			p.walledOff = append(p.walledOff, sp.entry(a, "from elsewhere", "-j DROP"))
		}
	}
}

// rejection tells the client that nobody is there. By TCP that is a reset: the kernel limits how many
// ICMP messages it sends, and a local client misses one that comes while it still sends its SYN.
func (p *ServicePort) rejection() string {
	if p.Protocol == corev1.ProtocolTCP {
		return "-j REJECT --reject-with tcp-reset"
	}
	return "-j REJECT"
}

// refuse adds what happens to packets that no endpoint may get. Without any endpoint clients are
// told at once; with endpoints elsewhere only, packets are dropped, so that a load balancer that is
// slow to notice does not fail its clients.
func (r *renderer) refuse(p *piece, sp *ServicePort, anyCluster, anyLocal bool) {
	verdict := func(onlyLocal bool) (string, string) {
		switch {
		case !anyCluster:
			return "has no endpoints", sp.rejection()
		case onlyLocal && !anyLocal:
			return "has no local endpoints", "-j DROP"
		}
		return "", ""
	}
	if what, target := verdict(sp.InternalLocal); what != "" {
		p.refused = append(p.refused, sp.entry(sp.ClusterIP, what, target))
	}
	what, target := verdict(sp.ExternalLocal)
	if what == "" {
		return
	}
	for _, a := range slices.Concat(sp.ExternalIPs, sp.LoadBalancerIPs) {
		p.refusedOutside = append(p.refusedOutside, sp.entry(a, what, target))
	}
	if sp.NodePort != 0 {
		p.refusedNodePorts = append(p.refusedNodePorts, entry{
			key:  portKey(sp.protocol(), sp.NodePort),
			rule: sp.dport(sp.NodePort) + " " + comment(sp.String()+" "+what) + " " + target,
		})
	}
}
