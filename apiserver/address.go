package apiserver

import (
	"math/rand/v2"
	"net/netip"
)

// usable tells whether an address of the range may be handed out: not the first, which is the
// network's, nor for IPv4 the last, which is the broadcast address.
func usable(cidr netip.Prefix, ip netip.Addr) bool {
	if !cidr.Contains(ip) || ip == cidr.Addr() {
		return false
	}
	return !ip.Is4() || cidr.Contains(ip.Next())
}

// randomAddr returns a random address of the range.
func randomAddr(cidr netip.Prefix) netip.Addr {
	base := cidr.Addr().AsSlice()
	for i := range base {
		var hostBits byte
		switch free := (i+1)*8 - cidr.Bits(); {
		case free >= 8:
			hostBits = 0xff
		case free > 0:
			hostBits = 1<<free - 1
		}
		base[i] |= byte(rand.Uint32()) & hostBits
	}
	ip, _ := netip.AddrFromSlice(base)
	return ip
}

// below16 tells whether an address lies in the lowest part of the range that automatic choice avoids:
// a sixteenth of it, at least 16 addresses and at most 256.
func below16(cidr netip.Prefix, ip netip.Addr) bool {
	bits := cidr.Addr().BitLen() - cidr.Bits()
	offset := 256
	if bits < 12 {
		offset = max(16, 1<<bits/16)
	}
	if bits <= 4 {
		return false
	}
	at := cidr.Addr()
	for range offset {
		if ip == at {
			return true
		}
		at = at.Next()
	}
	return false
}
