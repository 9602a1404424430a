package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/inboard/inboard/kubelet"
)

// Network is the pod network of one node. Its methods are safe for concurrent use.
type Network struct {
	cfg    Config
	mark   string // this owner, in aliases and names of chains
	host   *hostNS
	nl     *netlink.Handle // speaks to the host's namespace
	bridge netlink.Link
	// forwarding is what ip_forward was before any bridge of this package came.
	forwarding string
	rules      bool // chains have been made

	mu     sync.Mutex
	closed bool
	addrs  *allocator
	pods   map[string]*attachment
}

// attachment is a pod's connection.
type attachment struct {
	addr  netip.Addr
	veth  string
	ports []kubelet.PortMapping
}

// Open makes the bridge in the network namespace of the calling thread, after it has removed what
// an earlier program with the same Owner left. It needs CAP_NET_ADMIN.
func Open(cfg Config) (*Network, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	host, err := currentNS()
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n := &Network{
		cfg: cfg, mark: markOf(cfg.Owner), host: host,
		addrs: newAllocator(cfg.PodCIDR), pods: map[string]*attachment{},
	}
	if n.nl, err = netlink.NewHandleAt(host.fd, netlinkRoute); err != nil {
		host.close()
		return nil, fmt.Errorf("network: open a netlink socket: %w", err)
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Purge removes what a program that was killed left under an owner's name. It must not be called
// while a Network with this Owner is open.
func Purge(cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	host, err := currentNS()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer host.close()
	n := &Network{cfg: cfg, mark: markOf(cfg.Owner), host: host}
	if n.nl, err = netlink.NewHandleAt(host.fd, netlinkRoute); err != nil {
		return fmt.Errorf("network: open a netlink socket: %w", err)
	}
	defer n.nl.Close()
	found, err := n.removeLeftovers()
	if found && err == nil {
		err = n.restoreForwarding()
	}
	if err != nil {
		return fmt.Errorf("network: remove what a killed program left: %w", err)
	}
	return nil
}

func (n *Network) open() error {
	if _, err := n.removeLeftovers(); err != nil {
		return fmt.Errorf("network: remove what an earlier program left: %w", err)
	}
	if err := n.checkRange(); err != nil {
		return err
	}
	if err := n.makeBridge(); err != nil {
		return fmt.Errorf("network: make the pods' bridge (this needs root): %w", err)
	}
	if err := n.host.do(func() error { return writeSysctl("net/ipv4/ip_forward", "1") }); err != nil {
		return fmt.Errorf("network: let the node forward packets: %w", err)
	}
	if n.cfg.NoMasquerade {
		return nil
	}
	return n.makeRules()
}

// checkRange refuses a pod CIDR that a route of the node leads elsewhere.
func (n *Network) checkRange() error {
	routes, err := n.nl.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("network: list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		addr, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		if !ok || ones == 0 {
			continue
		}
		if dst := netip.PrefixFrom(addr, ones); dst.Overlaps(n.cfg.PodCIDR) {
			return fmt.Errorf("network: the pod CIDR %s overlaps with %s, which this node already has a route to (another cluster on this machine?): choose another pod CIDR", n.cfg.PodCIDR, dst)
		}
	}
	return nil
}

// Bridge is the bridge's name.
func (n *Network) Bridge() string { return n.bridge.Attrs().Name }

// Gateway is the bridge's address: the node, as pods see it.
func (n *Network) Gateway() netip.Addr { return n.addrs.gateway() }

// Attach connects the network namespace at nsPath: "lo" is set up, "eth0" made with an address and
// the default route. The ports of the node lead to it from then on. Attaching an id again returns
// its address.
func (n *Network) Attach(ctx context.Context, id, nsPath string, ports []kubelet.PortMapping) (netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return netip.Addr{}, errors.New("network: closed")
	}
	if a, ok := n.pods[id]; ok {
		return a.addr, nil
	}
	if err := n.checkPorts(ports); err != nil {
		return netip.Addr{}, err
	}
	addr, err := n.addrs.allocate(id)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("network: %w", err)
	}
	a := &attachment{addr: addr, veth: n.vethName(id), ports: ports}
	if err := n.connect(a, nsPath); err != nil {
		n.addrs.free(addr)
		n.deleteLink(a.veth)
		return netip.Addr{}, fmt.Errorf("network: connect the pod: %w", err)
	}
	n.pods[id] = a
	if len(ports) > 0 {
		if err := n.applyPorts(); err != nil {
			n.detach(id)
			return netip.Addr{}, fmt.Errorf("network: host ports: %w", err)
		}
	}
	return addr, nil
}

// Detach removes a pod's connection and frees its address. Detaching what is not attached is no
// error.
func (n *Network) Detach(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.detach(id)
}

// detach wants n.mu held.
func (n *Network) detach(id string) error {
	a, ok := n.pods[id]
	if !ok {
		return nil
	}
	delete(n.pods, id)
	n.addrs.free(a.addr)
	err := n.deleteLink(a.veth)
	if len(a.ports) > 0 {
		err = errors.Join(err, n.applyPorts())
	}
	if err != nil {
		return fmt.Errorf("network: disconnect a pod: %w", err)
	}
	return nil
}

// Close removes all links and rules, and lets the node forward packets only if it did before. It
// may be called again.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	var errs []error
	if n.rules {
		errs = append(errs, n.purgeRules())
	}
	for _, a := range n.pods {
		errs = append(errs, n.deleteLink(a.veth))
	}
	clear(n.pods)
	if n.bridge != nil {
		errs = append(errs, n.deleteLink(n.bridge.Attrs().Name), n.restoreForwarding())
	}
	n.nl.Close()
	n.host.close()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("network: close: %w", err)
	}
	return nil
}
