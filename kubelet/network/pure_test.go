package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/inboard/inboard/kubelet"
)

// TestAllocator holds that an address is never given twice at a time, is always a host's in the
// range, and that the whole range can be given.
func TestAllocator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 29).Draw(t, "bits")
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 2, 0}), bits)
		a := newAllocator(cidr)
		room := 1<<(32-bits) - 3
		held := map[netip.Addr]bool{}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "free") {
				for addr := range held {
					a.free(addr)
					delete(held, addr)
					break
				}
				continue
			}
			addr, err := a.allocate("x")
			if len(held) == room {
				if err == nil {
					t.Fatalf("gave %s from a full range", addr)
				}
				continue
			}
			if err != nil || held[addr] || !cidr.Contains(addr) || addr == cidr.Addr() || addr == a.gateway() || addr == a.last {
				t.Fatalf("gave %s, %v with %d of %d held", addr, err, len(held), room)
			}
			held[addr] = true
		}
	})
}

// TestRules renders rules as text: "rules", "jumps" and "purge".
func TestRules(t *testing.T) {
	datadriven.RunTest(t, "testdata/rules.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "jumps":
			return renderJumps("cafe0001")
		case "purge":
			return renderPurge("cafe0001", d.Input)
		case "rules":
			var pods []*attachment
			for line := range strings.Lines(d.Input) {
				a := &attachment{}
				f := strings.Fields(line)
				a.addr = netip.MustParseAddr(f[0])
				for _, p := range f[1:] {
					var m kubelet.PortMapping
					if _, err := fmt.Sscanf(strings.ReplaceAll(p, ",", " "), "%s %s %d %d", &m.Protocol, &m.HostIP, &m.HostPort, &m.ContainerPort); err != nil {
						t.Fatal(err)
					}
					a.ports = append(a.ports, m)
				}
				pods = append(pods, a)
			}
			return renderRules("cafe0001", "10.1.0.0/24", "br0", !d.HasArg("no-masquerade"), pods)
		}
		return "unknown command"
	})
}
