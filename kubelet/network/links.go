package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	netlinkRoute = unix.NETLINK_ROUTE
	aliasPrefix  = "inboard pod network"
	podDevice    = "eth0"
)

// markOf is short, because names of chains are.
func markOf(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:4])
}

// alias is what links of this package are known by. Forwarding is what ip_forward is to be restored
// to once the last bridge goes.
func alias(mark, forwarding string) string {
	return fmt.Sprintf("%s owner=%s forward=%s", aliasPrefix, mark, forwarding)
}

func parseAlias(s string) (mark, forwarding string, ok bool) {
	rest, ok := strings.CutPrefix(s, aliasPrefix+" ")
	if !ok {
		return "", "", false
	}
	for field := range strings.FieldsSeq(rest) {
		if v, ok := strings.CutPrefix(field, "owner="); ok {
			mark = v
		}
		if v, ok := strings.CutPrefix(field, "forward="); ok {
			forwarding = v
		}
	}
	return mark, forwarding, mark != ""
}

func (n *Network) vethName(id string) string {
	sum := sha256.Sum256([]byte(n.mark + "/" + id))
	return "inb" + hex.EncodeToString(sum[:6])
}

// removeLeftovers removes links and rules of an earlier program with the same owner. The state of
// ip_forward before it is taken over, from it or from another bridge of this package.
func (n *Network) removeLeftovers() (found bool, err error) {
	links, err := n.nl.LinkList()
	if err != nil {
		return false, err
	}
	for _, l := range links {
		mark, forwarding, ok := parseAlias(l.Attrs().Alias)
		if !ok {
			continue
		}
		if n.forwarding == "" {
			n.forwarding = forwarding
		}
		if mark == n.mark {
			found = true
			if err := n.deleteLink(l.Attrs().Name); err != nil {
				return found, err
			}
		}
	}
	if n.forwarding == "" {
		if err := n.host.do(func() (err error) { n.forwarding, err = readSysctl("net/ipv4/ip_forward"); return }); err != nil {
			return found, err
		}
	}
	if !found {
		return false, nil
	}
	n.cfg.Logger.Info("removed the pod network of an earlier program", "owner", n.cfg.Owner)
	if _, err := lookup("iptables-save"); err != nil && n.cfg.NoMasquerade {
		return true, nil // then it had no rules either
	}
	return true, n.purgeRules()
}

func (n *Network) makeBridge() error {
	if n.cfg.Bridge != "" {
		return n.makeBridgeNamed(n.cfg.Bridge)
	}
	for i := range 1000 {
		err := n.makeBridgeNamed(fmt.Sprintf("inboard%d", i))
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return errors.New("too many bridges")
}

func (n *Network) makeBridgeNamed(name string) error {
	gw := n.addrs.gateway()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, n.cfg.MTU
	// A hardware address of its own keeps the bridge from taking that of the first pod.
	attrs.HardwareAddr = hardwareAddr(gw)
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := n.nl.LinkAdd(br); err != nil {
		return fmt.Errorf("add the link %s: %w", name, err)
	}
	n.bridge = br
	if err := n.nl.LinkSetAlias(br, alias(n.mark, n.forwarding)); err != nil {
		return err
	}
	if err := n.nl.AddrAdd(br, ipAddr(gw, n.cfg.PodCIDR.Bits())); err != nil {
		return err
	}
	return n.nl.LinkSetUp(br)
}

// connect makes the pair of devices, the pod's side directly in the pod's namespace.
func (n *Network) connect(a *attachment, nsPath string) error {
	ns, err := netns.GetFromPath(nsPath)
	if err != nil {
		return fmt.Errorf("open the pod's network namespace: %w", err)
	}
	defer ns.Close()
	pod, err := netlink.NewHandleAt(ns, netlinkRoute)
	if err != nil {
		return err
	}
	defer pod.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = a.veth, n.cfg.MTU, n.bridge.Attrs().Index
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: podDevice, PeerMTU: uint32(n.cfg.MTU),
		PeerNamespace: netlink.NsFd(int(ns)), PeerHardwareAddr: hardwareAddr(a.addr),
	}
	if err := n.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add the link %s: %w", a.veth, err)
	}
	if err := n.nl.LinkSetAlias(veth, alias(n.mark, n.forwarding)); err != nil {
		return err
	}
	if err := n.nl.LinkSetHairpin(veth, true); err != nil {
		return err
	}
	if err := n.nl.LinkSetUp(veth); err != nil {
		return err
	}
	return n.configure(pod, a.addr)
}

// configure sets up the pod's side.
func (n *Network) configure(pod *netlink.Handle, addr netip.Addr) error {
	lo, err := pod.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := pod.LinkSetUp(lo); err != nil {
		return err
	}
	eth, err := pod.LinkByName(podDevice)
	if err != nil {
		return err
	}
	if err := pod.AddrAdd(eth, ipAddr(addr, n.cfg.PodCIDR.Bits())); err != nil {
		return err
	}
	if err := pod.LinkSetUp(eth); err != nil {
		return err
	}
	return pod.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: n.addrs.gateway().AsSlice()})
}

func (n *Network) deleteLink(name string) error {
	l, err := n.nl.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = n.nl.LinkDel(l)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete the link %s: %w", name, err)
	}
	return nil
}

// restoreForwarding leaves ip_forward alone as long as another network of this package needs it.
func (n *Network) restoreForwarding() error {
	links, err := n.nl.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if _, _, ok := parseAlias(l.Attrs().Alias); ok {
			return nil
		}
	}
	return n.host.do(func() error { return writeSysctl("net/ipv4/ip_forward", n.forwarding) })
}

func ipAddr(a netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
}

// hardwareAddr derives a locally administered address from an IP address, so that an address that
// is used again is found where peers remember it.
func hardwareAddr(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}
