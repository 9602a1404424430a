package proxy

import (
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// Family is an address family. Rules of different families never mix.
type Family uint8

// The address families.
const (
	IPv4 Family = iota
	IPv6
)

// String returns "IPv4" or "IPv6", the words of the API.
func (f Family) String() string {
	if f == IPv6 {
		return string(discoveryv1.AddressTypeIPv6)
	}
	return string(discoveryv1.AddressTypeIPv4)
}

// Bits returns the length of an address.
func (f Family) Bits() int {
	if f == IPv6 {
		return 128
	}
	return 32
}

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

func (f Family) has(a netip.Addr) bool {
	return a.IsValid() && a.Is4() == (f == IPv4) && a.Zone() == ""
}

// addr reads an address, if it is one of the family.
func (f Family) addr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	a = a.Unmap()
	return a, f.has(a)
}

// addrs returns those of the strings that are addresses of the family.
func (f Family) addrs(list []string) (out []netip.Addr) {
	for _, s := range list {
		if a, ok := f.addr(s); ok {
			out = append(out, a)
		}
	}
	return out
}

// prefixes returns those of the prefixes that are of the family, with host bits cleared.
func (f Family) prefixes(list []netip.Prefix) (out []netip.Prefix) {
	for _, p := range list {
		if f.has(p.Addr()) {
			out = append(out, p.Masked())
		}
	}
	return out
}
