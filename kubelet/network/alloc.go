package network

import (
	"fmt"
	"net/netip"
)

// allocator hands out the addresses of a range, but not its first (the network), second (the
// bridge) and last (broadcast). It goes round the range, so that an address is reused late: peers
// may remember its last owner.
type allocator struct {
	cidr  netip.Prefix
	last  netip.Addr // the range's last address
	next  netip.Addr
	taken map[netip.Addr]string
}

func newAllocator(cidr netip.Prefix) *allocator {
	a := &allocator{cidr: cidr, last: lastAddr(cidr), taken: map[netip.Addr]string{}}
	a.next = a.first()
	return a
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func (a *allocator) gateway() netip.Addr { return a.cidr.Addr().Next() }

func (a *allocator) first() netip.Addr { return a.gateway().Next() }

func (a *allocator) allocate(owner string) (netip.Addr, error) {
	start := a.next
	for {
		addr := a.next
		if a.next = addr.Next(); a.next == a.last {
			a.next = a.first()
		}
		if _, ok := a.taken[addr]; !ok {
			a.taken[addr] = owner
			return addr, nil
		}
		if a.next == start {
			return netip.Addr{}, fmt.Errorf("all %d pod addresses of %s are in use: choose a larger pod CIDR", len(a.taken), a.cidr)
		}
	}
}

func (a *allocator) free(addr netip.Addr) { delete(a.taken, addr) }
