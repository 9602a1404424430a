package proxy

import (
	"cmp"
	"maps"
	"slices"
)

// ruleset puts the pieces together.
func (r *renderer) ruleset() *Ruleset {
	r.prepare()
	nat := Table{Name: "nat", Jumps: r.jumps("PREROUTING", "OUTPUT", "POSTROUTING")}
	nat.Jumps[0].Rule[1], nat.Jumps[1].Rule[1] = r.names.fixed("SERVICES"), r.names.fixed("SERVICES")
	nat.Chains = r.natChains()
	filter := Table{Name: "filter", Jumps: r.jumps("INPUT", "FORWARD", "OUTPUT")}
	filter.Chains = slices.Concat(r.dispatch.filter, r.hooks(r.dispatch.nodePorts && r.localhost()))
	return &Ruleset{
		Family: r.cfg.Family, Prefix: string(r.names), Tables: []Table{nat, filter},
		Sysctls: r.sysctls(r.dispatch.nodePorts),
	}
}

// prepare finds out anew what the last changes made unknown.
func (r *renderer) prepare() {
	if r.sorted == nil {
		r.sorted = slices.SortedFunc(maps.Keys(r.pieces), func(a, b serviceKey) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	if r.dispatch != nil {
		return
	}
	all := &entries{}
	for _, k := range r.sorted {
		e := &r.pieces[k].entries
		all.services = append(all.services, e.services...)
		all.nodePorts = append(all.nodePorts, e.nodePorts...)
		all.refused = append(all.refused, e.refused...)
		all.refusedOutside = append(all.refusedOutside, e.refusedOutside...)
		all.walledOff = append(all.walledOff, e.walledOff...)
		all.refusedNodePorts = append(all.refusedNodePorts, e.refusedNodePorts...)
	}
	r.dispatch = &dispatch{
		nat: r.natDispatch(all), filter: r.filterDispatch(all),
		nodePorts: len(all.nodePorts)+len(all.refusedNodePorts) > 0,
	}
}

// natChains are the chains of the table nat, in the order of the services' names.
func (r *renderer) natChains() []Chain {
	n := 4 + len(r.dispatch.nat)
	for _, k := range r.sorted {
		n += len(r.pieces[k].nat)
	}
	chains := append(make([]Chain, 0, n), r.marks()...)
	for _, k := range r.sorted {
		chains = append(chains, r.pieces[k].nat...)
	}
	return append(append(chains, r.dispatch.nat...), r.postrouting())
}

// jumps lead from the kernel's chains to ours of the same name.
func (r *renderer) jumps(parents ...string) (out []Jump) {
	for _, p := range parents {
		out = append(out, Jump{Parent: p, Rule: []string{"-j", r.names.fixed(p)}})
	}
	return out
}

// marks is the chain that tells clients apart where the pods' addresses are in several ranges.
func (r *renderer) marks() []Chain {
	if r.cfg.MasqueradeAll || len(r.cfg.ClusterCIDRs) < 2 {
		return nil
	}
	c := Chain{Name: r.names.fixed("MARK-OUTSIDER")}
	for _, cidr := range r.cfg.ClusterCIDRs {
		c.Rules = append(c.Rules, "-s "+cidr.String()+" -j RETURN")
	}
	c.Rules = append(c.Rules, r.masquerade()[1:])
	return []Chain{c}
}

// postrouting masquerades what is marked, and takes the mark off, so that a packet that comes by
// again, as within a tunnel, is not masqueraded twice.
func (r *renderer) postrouting() Chain {
	return Chain{Name: r.names.fixed("POSTROUTING"), Rules: []string{
		"-m mark ! --mark " + r.mark + "/" + r.mark + " -j RETURN",
		"-j MARK --xor-mark " + r.mark,
		"-j MASQUERADE --random-fully",
	}}
}

// natDispatch sends packets for services to their chains. Addresses come first; node ports, which
// are on any address of the node, last.
func (r *renderer) natDispatch(all *entries) []Chain {
	chains, root := tree{r.names, "NET", matchAddr}.grow(all.services)
	if len(all.nodePorts) > 0 {
		sub, rules := tree{r.names, "PORT", matchPort}.grow(all.nodePorts)
		ports := Chain{Name: r.names.fixed("NODEPORTS"), Rules: rules}
		chains = append(append(chains, sub...), ports)
		root = append(root, r.toNode("-j "+ports.Name)...)
	}
	return append(chains, Chain{Name: r.names.fixed("SERVICES"), Rules: root})
}

// toNode returns rules for packets to those of the node's addresses that have node ports.
func (r *renderer) toNode(target string) (rules []string) {
	for _, p := range r.cfg.NodePortAddresses {
		match := "-m addrtype --dst-type LOCAL "
		if p.Bits() > 0 {
			match = "-d " + p.String() + " " + match
		} else if r.cfg.Family == IPv6 {
			// The kernel does not route from ::1 to elsewhere, and has no setting for it.
			match = "! -d ::1/128 " + match
		}
		rules = append(rules, match+target)
	}
	return rules
}

// filterDispatch refuses packets that no endpoint may get.
func (r *renderer) filterDispatch(all *entries) []Chain {
	chains, refused := tree{r.names, "NET", matchAddr}.grow(all.refused)
	refused = append(refused, r.unassigned()...)
	sub, outside := tree{r.names, "OUT", matchAddr}.grow(all.refusedOutside)
	chains = append(chains, sub...)
	if len(all.refusedNodePorts) > 0 {
		sub, rules := tree{r.names, "PORT", matchPort}.grow(all.refusedNodePorts)
		ports := Chain{Name: r.names.fixed("NODEPORTS"), Rules: rules}
		chains = append(append(chains, sub...), ports)
		outside = append(outside, r.toNode("-j "+ports.Name)...)
	}
	sub, walled := tree{r.names, "WALL", matchAddr}.grow(all.walledOff)
	return append(append(chains, sub...),
		Chain{Name: r.names.fixed("SERVICES"), Rules: refused},
		Chain{Name: r.names.fixed("EXTERNAL"), Rules: outside},
		Chain{Name: r.names.fixed("FIREWALL"), Rules: walled})
}

// unassigned refuses what still has an address of a service here: no rule of nat knew it.
func (r *renderer) unassigned() (rules []string) {
	for _, cidr := range r.cfg.ServiceCIDRs {
		match := "-d " + cidr.String() + " " + comment("no such service port")
		rules = append(rules, match+" -p tcp -j REJECT --reject-with tcp-reset", match+" -j REJECT")
	}
	return rules
}

// hooks are the chains that the kernel's filter chains jump to.
func (r *renderer) hooks(guardLocalhost bool) []Chain {
	fresh := func(chain string) string { return "-m conntrack --ctstate NEW -j " + r.names.fixed(chain) }
	var guard []string
	if guardLocalhost {
		// route_localnet would let the neighbours of this node connect to its loopback addresses.
		guard = []string{"! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"}
	}
	return []Chain{
		{Name: r.names.fixed("INPUT"), Rules: append(guard, fresh("EXTERNAL"), fresh("FIREWALL"))},
		{Name: r.names.fixed("FORWARD"), Rules: []string{
			fresh("SERVICES"), fresh("EXTERNAL"), fresh("FIREWALL"),
			"-m conntrack --ctstate INVALID -j DROP",
			"-m mark --mark " + r.mark + "/" + r.mark + " -j ACCEPT",
			"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		}},
		{Name: r.names.fixed("OUTPUT"), Rules: []string{fresh("SERVICES"), fresh("FIREWALL")}},
	}
}

// localhost tells whether node ports answer at 127.0.0.1.
func (r *renderer) localhost() bool {
	if r.cfg.Family != IPv4 {
		return false
	}
	for _, p := range r.cfg.NodePortAddresses {
		if p.Overlaps(loopback4) {
			return true
		}
	}
	return false
}

func (r *renderer) sysctls(nodePorts bool) (out []Sysctl) {
	if nodePorts && r.localhost() {
		out = append(out, Sysctl{Name: "net/ipv4/conf/all/route_localnet", Value: "1"})
	}
	if !r.cfg.MasqueradeAll {
		name := "net/bridge/bridge-nf-call-iptables"
		if r.cfg.Family == IPv6 {
			name = "net/bridge/bridge-nf-call-ip6tables"
		}
		out = append(out, Sysctl{Name: name, Value: "1", Optional: true, Without: "a pod can't reach a pod on the " +
			"same bridge through a service: load the kernel module br_netfilter (modprobe br_netfilter), or set MasqueradeAll"})
	}
	return out
}
