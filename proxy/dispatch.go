package proxy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

const (
	// leafSize is how many entries of a dispatch tree may stand in one chain. Chains above it are
	// split by the next four bits of the key, so no chain has more rules than this, unless that
	// many entries have the same key.
	leafSize   = 16
	branchBits = 4
)

// entry is one rule that is found by a key: a destination address or a port. Rules of one table and
// one tree exclude each other, so their order does not matter.
type entry struct {
	key  string
	rule string
}

// tree makes chains out of entries. A packet's destination is looked up in them in a number of steps
// that grows with the logarithm of the number of entries. A plain list, the only other way that
// iptables has, makes each new connection walk through all services, also when it is for none.
type tree struct {
	names names
	class string
	// match returns the match for all keys that begin with the given bits.
	match func(key string, bits int) string
}

// grow returns the chains for entries and the rules that lead into them. The entries are sorted in
// place.
func (t tree) grow(entries []entry) (chains []Chain, root []string) {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.rule, b.rule))
	})
	return t.branch(entries)
}

func (t tree) branch(entries []entry) (chains []Chain, rules []string) {
	common := 0
	if len(entries) > 0 {
		common = commonBits(entries[0].key, entries[len(entries)-1].key)
	}
	if len(entries) <= leafSize || common == 8*len(entries[0].key) {
		for _, e := range entries {
			rules = append(rules, e.rule)
		}
		return nil, rules
	}
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && commonBits(entries[0].key, entries[n].key) >= common+branchBits {
			n++
		}
		sub, into, rule := t.child(entries[:n])
		chains = append(chains, sub...)
		if into != nil {
			chains = append(chains, *into)
		}
		rules = append(rules, rule)
		entries = entries[n:]
	}
	return chains, rules
}

// child returns a branch as a chain of its own, with the rule that leads there; a single entry needs
// none. A branch is named after what all its keys have in common, so that it stays the same when
// others come and go beside it.
func (t tree) child(entries []entry) (sub []Chain, into *Chain, rule string) {
	if len(entries) == 1 {
		return nil, nil, entries[0].rule
	}
	key := entries[0].key
	bits := commonBits(key, entries[len(entries)-1].key)
	sub, rules := t.branch(entries)
	into = &Chain{Name: t.names.branch(t.class, key, bits), Rules: rules}
	return sub, into, t.match(key, bits) + " -j " + into.Name
}

// commonBits returns how many leading bits two keys share, rounded down to whole branchings.
func commonBits(a, b string) int {
	for i := range len(a) {
		if a[i] != b[i] {
			if a[i]>>4 == b[i]>>4 {
				return 8*i + branchBits
			}
			return 8 * i
		}
	}
	return 8 * len(a)
}

func addrKey(a netip.Addr) string { return string(a.AsSlice()) }

// matchAddr matches destinations by prefix.
func matchAddr(key string, bits int) string {
	a, _ := netip.AddrFromSlice([]byte(key))
	return "-d " + netip.PrefixFrom(a, bits).Masked().String()
}

// portKey begins with the protocol's number; those of TCP, UDP and SCTP differ in the first branching.
func portKey(proto string, port uint16) string {
	return string([]byte{protocolNumbers[proto], byte(port >> 8), byte(port)})
}

var protocolNumbers = map[string]byte{"tcp": 6, "udp": 17, "sctp": 132}

// matchPort matches destination ports by range.
func matchPort(key string, bits int) string {
	proto := ""
	for name, n := range protocolNumbers {
		if n == key[0] {
			proto = name
		}
	}
	lo := binary.BigEndian.Uint16([]byte(key[1:])) &^ uint16(1<<(24-bits)-1)
	hi := lo | uint16(1<<(24-bits)-1)
	return fmt.Sprintf("-p %s -m %s --dport %s:%s", proto, proto, strconv.Itoa(int(lo)), strconv.Itoa(int(hi)))
}
