package iptables

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/proxy"
)

// ForgetFlows is proxy.Applier's, by netlink.
func (a *Applier) ForgetFlows(ctx context.Context, flows *proxy.Flows) error {
	if err := ctx.Err(); err != nil || flows.Empty() {
		return err
	}
	m := &staleFlow{flows: flows}
	if len(flows.NodePorts) > 0 {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("proxy/iptables: list the addresses of this node: %w", err)
		}
		m.node = addrs
	}
	family := netlink.InetFamily(unix.AF_INET)
	if flows.Family == proxy.IPv6 {
		family = unix.AF_INET6
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, m); err != nil {
		return fmt.Errorf("proxy/iptables: forget UDP flows (conntrack): %w", err)
	}
	return nil
}

// staleFlow matches the UDP flows that go elsewhere than they should.
type staleFlow struct {
	flows *proxy.Flows
	node  []net.Addr
}

// MatchConntrackFlow makes staleFlow a filter.
func (m *staleFlow) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	if f.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	dst, to := endpoint(f.Forward.DstIP, f.Forward.DstPort), endpoint(f.Reverse.SrcIP, f.Reverse.SrcPort)
	if ok, is := m.flows.Services[dst]; is {
		return !slices.Contains(ok, to)
	}
	ok, is := m.flows.NodePorts[dst.Port()]
	return is && m.local(dst.Addr()) && !slices.Contains(ok, to)
}

// local tells whether the address is one of the node's.
func (m *staleFlow) local(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(m.node, func(n net.Addr) bool {
		p, ok := n.(*net.IPNet)
		return ok && p.IP.Equal(a.AsSlice())
	})
}

func endpoint(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}
