package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

const defaultMasqueradeBit = 14

// RenderConfig is what rules depend on besides the Services.
type RenderConfig struct {
	Family Family
	// Instance begins the names of all chains, so that several proxies can live in one network
	// namespace; empty means INBOARD. At most 8 upper-case letters and digits.
	Instance string
	// ClusterCIDRs are the addresses of pods. When there are any, clients elsewhere that connect
	// to a cluster IP are masqueraded, so that answers find their way back through this node.
	ClusterCIDRs []netip.Prefix
	// ServiceCIDRs are the addresses of services. When there are any, packets to addresses and ports
	// in them that no Service has are refused at once. Otherwise they leave by the default route,
	// and their sender waits in vain.
	ServiceCIDRs []netip.Prefix
	// NodePortAddresses are those of the node's addresses at which node ports answer; none means
	// all.
	NodePortAddresses []netip.Prefix
	// MasqueradeAll masquerades all clients of cluster IPs. It is the way out where a bridge
	// connects pods and the kernel has no br_netfilter; endpoints then do not see who calls.
	MasqueradeAll bool
	// MasqueradeBit is the bit of the packet mark, 1 to 31, that tells what to masquerade; 0 means
	// 14, kube-proxy's. Proxies may share it.
	MasqueradeBit int
}

func (c RenderConfig) validate() (names, error) {
	n, err := namesFor(c.Instance)
	if err != nil {
		return "", fmt.Errorf("proxy: Instance: %w", err)
	}
	if c.Family > IPv6 {
		return "", fmt.Errorf("proxy: Family: %d is none", c.Family)
	}
	if c.MasqueradeBit < 0 || c.MasqueradeBit > 31 {
		return "", fmt.Errorf("proxy: MasqueradeBit: %d is not within 1 to 31", c.MasqueradeBit)
	}
	for _, p := range slices.Concat(c.ClusterCIDRs, c.ServiceCIDRs, c.NodePortAddresses) {
		if !p.IsValid() {
			return "", errors.New("proxy: ClusterCIDRs, ServiceCIDRs and NodePortAddresses must be valid prefixes")
		}
	}
	return n, nil
}

// Render returns the rules for all service ports of the family: a pure function, whose result does
// not depend on the order of ports. Ports of the other family are passed over.
func Render(cfg RenderConfig, ports []ServicePort) (*Ruleset, error) {
	r, err := newRenderer(cfg)
	if err != nil {
		return nil, err
	}
	byService := map[serviceKey][]ServicePort{}
	for _, p := range ports {
		k := serviceKey{p.Namespace, p.Name}
		byService[k] = append(byService[k], p)
	}
	for k, ps := range byService {
		r.set(k, ps)
	}
	return r.ruleset(), nil
}

type serviceKey struct{ Namespace, Name string }

// renderer renders again only what changed. Its result is a function of the services it holds, not
// of the order of changes.
type renderer struct {
	cfg    RenderConfig
	names  names
	mark   string
	pieces map[serviceKey]*piece
	// sorted are the keys of pieces in order, nil when that has to be found out anew. So is
	// dispatch, the chains that do not change with endpoints.
	sorted   []serviceKey
	dispatch *dispatch
}

// dispatch are the chains that lead packets to services, and those that refuse them.
type dispatch struct {
	nat, filter []Chain
	nodePorts   bool
}

// piece is what one service adds to the rules.
type piece struct {
	ports []ServicePort
	nat   []Chain
	entries
}

// entries are what the dispatch trees are made of.
type entries struct {
	services, nodePorts                []entry // nat
	refused, refusedOutside, walledOff []entry // filter, by address
	refusedNodePorts                   []entry // filter, by port
}

func newRenderer(cfg RenderConfig) (*renderer, error) {
	n, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	cfg.ClusterCIDRs = cfg.Family.prefixes(cfg.ClusterCIDRs)
	cfg.ServiceCIDRs = cfg.Family.prefixes(cfg.ServiceCIDRs)
	all := len(cfg.NodePortAddresses) == 0
	cfg.NodePortAddresses = cfg.Family.prefixes(cfg.NodePortAddresses)
	if all {
		cfg.NodePortAddresses = []netip.Prefix{netip.PrefixFrom(cfg.Family.zero(), 0)}
	}
	if cfg.MasqueradeBit == 0 {
		cfg.MasqueradeBit = defaultMasqueradeBit
	}
	return &renderer{
		cfg: cfg, names: n,
		mark:   fmt.Sprintf("%#x", uint32(1)<<cfg.MasqueradeBit),
		pieces: map[serviceKey]*piece{},
	}, nil
}

func (f Family) zero() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// set makes ports the service's; none removes it. It tells whether that changed anything.
func (r *renderer) set(key serviceKey, ports []ServicePort) bool {
	old := r.pieces[key]
	if len(ports) == 0 {
		if old != nil {
			delete(r.pieces, key)
			r.sorted, r.dispatch = nil, nil
		}
		return old != nil
	}
	if old != nil && slices.EqualFunc(old.ports, ports, ServicePort.equal) {
		return false
	}
	p := &piece{ports: ports}
	for i := range ports {
		if r.cfg.Family.has(ports[i].ClusterIP) {
			r.port(p, &ports[i])
		}
	}
	if old == nil {
		r.sorted = nil
	}
	if old == nil || !old.entries.equal(&p.entries) {
		r.dispatch = nil
	}
	r.pieces[key] = p
	return true
}

func (e *entries) equal(f *entries) bool {
	return slices.Equal(e.services, f.services) && slices.Equal(e.nodePorts, f.nodePorts) &&
		slices.Equal(e.refused, f.refused) && slices.Equal(e.refusedOutside, f.refusedOutside) &&
		slices.Equal(e.walledOff, f.walledOff) && slices.Equal(e.refusedNodePorts, f.refusedNodePorts)
}
