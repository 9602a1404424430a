package proxy

import (
	"maps"
	"slices"
	"strings"
)

// ruleset puts the pieces together.
func (r *renderer) ruleset() *Ruleset {
	all := r.sum()
	nodePorts := len(all.nodePorts)+len(all.refusedNodePorts) > 0
	nat := Table{Name: "nat", Jumps: r.jumps("PREROUTING", "OUTPUT", "POSTROUTING")}
	nat.Jumps[0].Rule[1], nat.Jumps[1].Rule[1] = r.names.fixed("SERVICES"), r.names.fixed("SERVICES")
	nat.Chains = slices.Concat(r.marks(), all.nat, r.natDispatch(all), []Chain{r.postrouting()})
	filter := Table{Name: "filter", Jumps: r.jumps("INPUT", "FORWARD", "OUTPUT")}
	filter.Chains = slices.Concat(r.filterDispatch(all), r.hooks(nodePorts && r.localhost()))
	set := &Ruleset{Family: r.cfg.Family, Prefix: string(r.names), Tables: []Table{nat, filter}}
	set.Sysctls = r.sysctls(nodePorts)
	return set
}

// sum joins the pieces in the order of the services' names.
func (r *renderer) sum() *piece {
	keys := slices.SortedFunc(maps.Keys(r.pieces), func(a, b serviceKey) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	all := &piece{}
	for _, k := range keys {
		p := r.pieces[k]
		all.nat = append(all.nat, p.nat...)
		all.services = append(all.services, p.services...)
		all.nodePorts = append(all.nodePorts, p.nodePorts...)
		all.refused = append(all.refused, p.refused...)
		all.refusedOutside = append(all.refusedOutside, p.refusedOutside...)
		all.walledOff = append(all.walledOff, p.walledOff...)
		all.refusedNodePorts = append(all.refusedNodePorts, p.refusedNodePorts...)
	}
	return all
}

// jumps lead from the kernel's chains to ours of the same name.
func (r *renderer) jumps(parents ...string) (out []Jump) {
	for _, p := range parents {
		out = append(out, Jump{Parent: p, Rule: []string{"-j", r.names.fixed(p)}})
	}
	return out
}

func (r *renderer) marks() []Chain {
	chains := []Chain{{Name: r.names.fixed("MARK-MASQ"), Rules: []string{"-j MARK --or-mark " + r.mark}}}
	if r.cfg.MasqueradeAll || len(r.cfg.ClusterCIDRs) == 0 {
		return chains
	}
	outsider := Chain{Name: r.names.fixed("MARK-OUTSIDER")}
	for _, cidr := range r.cfg.ClusterCIDRs {
		outsider.Rules = append(outsider.Rules, "-s "+cidr.String()+" -j RETURN")
	}
	outsider.Rules = append(outsider.Rules, "-j "+r.names.fixed("MARK-MASQ"))
	return append(chains, outsider)
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
func (r *renderer) natDispatch(all *piece) []Chain {
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
func (r *renderer) filterDispatch(all *piece) []Chain {
	chains, refused := tree{r.names, "NET", matchAddr}.grow(all.refused)
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
