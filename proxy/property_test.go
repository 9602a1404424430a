package proxy

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

var (
	nodeAddr = netip.MustParseAddr("192.0.2.1")
	podAddr  = netip.MustParseAddr("10.244.7.7") // no endpoint
	outer    = netip.MustParseAddr("198.51.100.7")
	podCIDR  = netip.MustParsePrefix("10.244.0.0/16")
)

// genPorts makes services with addresses and node ports of their own.
func genPorts(t *rapid.T, most int) []ServicePort {
	n := rapid.IntRange(0, most).Draw(t, "services")
	near := rapid.Bool().Draw(t, "addresses in one block")
	ports := make([]ServicePort, n)
	for i := range ports {
		ports[i] = genPort(t, i, near)
	}
	return ports
}

func genPort(t *rapid.T, i int, near bool) ServicePort {
	id := i
	if !near {
		id = i * 257 % 60000
	}
	p := ServicePort{
		Namespace: "ns", Name: fmt.Sprintf("s%d", i), PortName: rapid.SampledFrom([]string{"", "http"}).Draw(t, "port name"),
		Protocol:      rapid.SampledFrom([]corev1.Protocol{"TCP", "UDP", "SCTP"}).Draw(t, "protocol"),
		ClusterIP:     netip.AddrFrom4([4]byte{10, 96, byte(id >> 8), byte(id)}),
		Port:          uint16(rapid.IntRange(1, 65535).Draw(t, "port")),
		InternalLocal: rapid.Bool().Draw(t, "internal local"),
		ExternalLocal: rapid.Bool().Draw(t, "external local"),
	}
	if rapid.Bool().Draw(t, "node port") {
		p.NodePort = uint16(30000 + i)
	}
	if rapid.Bool().Draw(t, "external IP") {
		p.ExternalIPs = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, byte(id >> 8), byte(id)})}
	}
	if rapid.Bool().Draw(t, "load balancer") {
		p.LoadBalancerIPs = []netip.Addr{netip.AddrFrom4([4]byte{203, 1, byte(id >> 8), byte(id)})}
		if rapid.Bool().Draw(t, "ranges") {
			p.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}
	}
	if rapid.Bool().Draw(t, "affinity") {
		p.Affinity = time.Hour
	}
	for e := range rapid.IntRange(0, 5).Draw(t, "endpoints") {
		p.Endpoints = append(p.Endpoints, Endpoint{
			Addr:        netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(e), byte(i)}), 8080),
			Local:       rapid.Bool().Draw(t, "local"),
			Ready:       rapid.Bool().Draw(t, "ready"),
			Serving:     rapid.Bool().Draw(t, "serving"),
			Terminating: rapid.Bool().Draw(t, "terminating"),
		})
	}
	return p
}

// expect says, in the words of the Service documentation, what becomes of a packet: it goes to each
// of some endpoints with the same probability, or is refused.
type expect struct {
	to         []netip.AddrPort
	verdict    string // when there are none
	masquerade bool   // of all; the way from an endpoint to itself always is
}

// inside is what a client inside the cluster, or using the cluster IP, meets.
func inside(p *ServicePort, client netip.Addr) expect {
	e := expect{masquerade: !podCIDR.Contains(client)}
	return e.among(p, p.InternalLocal)
}

// fromOutside is what packets to external addresses and node ports meet.
func fromOutside(p *ServicePort, client netip.Addr) expect {
	if !p.ExternalLocal {
		return expect{masquerade: true}.among(p, false)
	}
	if client == outer {
		return expect{}.among(p, true)
	}
	return expect{masquerade: client == nodeAddr}.among(p, false)
}

func (e expect) among(p *ServicePort, onlyLocal bool) expect {
	pick := func(ok func(Endpoint) bool) (out []netip.AddrPort) {
		for _, ep := range p.Endpoints {
			if ok(ep) && (ep.Local || !onlyLocal) {
				out = append(out, ep.Addr)
			}
		}
		return out
	}
	e.to = pick(func(ep Endpoint) bool { return ep.Ready })
	if len(e.to) == 0 {
		e.to = pick(func(ep Endpoint) bool { return ep.Serving && ep.Terminating })
	}
	if len(e.to) > 0 {
		return e
	}
	e.verdict, e.masquerade = "REJECT", false
	if onlyLocal {
		if all := (expect{}).among(p, false); len(all.to) > 0 {
			e.verdict = "DROP"
		}
	}
	return e
}

// meets compares what the rules do with what they should.
func (e expect) meets(got map[fate]float64, p packet) error {
	if len(e.to) == 0 {
		want := fate{verdict: e.verdict, to: p.dst}
		if len(got) != 1 || math.Abs(got[want]-1) > 1e-6 {
			return fmt.Errorf("%v: got %v, want %v", p, got, want)
		}
		return nil
	}
	for _, to := range e.to {
		want := fate{verdict: "ACCEPT", to: to, masquerade: e.masquerade}
		if math.Abs(got[want]-1/float64(len(e.to))) > 1e-6 {
			return fmt.Errorf("%v: got %v, want %v with probability 1/%d", p, got, want, len(e.to))
		}
	}
	if len(got) > len(e.to) {
		for f, prob := range got {
			if prob > 1e-6 && !slices.Contains(e.to, f.to) {
				return fmt.Errorf("%v: got %v, want only %v", p, got, e.to)
			}
		}
	}
	return nil
}

// TestEachAddressReachesItsEndpoints: for any services, any of their addresses and any kind of
// client, the rendered rules do what the documentation of Services says, with equal probability.
func TestEachAddressReachesItsEndpoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := genPorts(t, 40)
		cfg := RenderConfig{ClusterCIDRs: []netip.Prefix{podCIDR}}
		if rapid.Bool().Draw(t, "service range known") {
			cfg.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}
		}
		set, err := Render(cfg, ports)
		if err != nil {
			t.Fatal(err)
		}
		k := newKernel(set.Text(), nodeAddr)
		for i := range ports {
			p := &ports[i]
			for _, client := range []netip.Addr{podAddr, nodeAddr, outer} {
				check := func(a netip.Addr, port uint16, want expect) {
					pkt := packet{src: client, dst: netip.AddrPortFrom(a, port), proto: strings.ToLower(string(p.Protocol))}
					if err := want.meets(k.send(pkt), pkt); err != nil {
						t.Fatalf("%s: %v\n%s", p, err, set.Text())
					}
				}
				check(p.ClusterIP, p.Port, inside(p, client))
				if p.NodePort != 0 {
					check(nodeAddr, p.NodePort, fromOutside(p, client))
				}
				for _, a := range p.ExternalIPs {
					// Our own packets to external addresses are not refused but go on their way.
					if w := fromOutside(p, client); client != nodeAddr || w.verdict == "" {
						check(a, p.Port, w)
					}
				}
				for _, a := range p.LoadBalancerIPs {
					w := fromOutside(p, client)
					walled := len(p.SourceRanges) > 0 && client != outer
					if client != nodeAddr && !walled {
						check(a, p.Port, w)
					}
					if walled && w.verdict == "" {
						check(a, p.Port, expect{verdict: "DROP"})
					}
				}
			}
		}
	})
}

// TestOtherPacketsPassBy: what is for no service is left alone.
func TestOtherPacketsPassBy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := genPorts(t, 60)
		set, _ := Render(RenderConfig{}, ports)
		k := newKernel(set.Text(), nodeAddr)
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 97, 0, byte(rapid.IntRange(0, 255).Draw(t, "host"))}), 80)
		for _, src := range []netip.Addr{podAddr, nodeAddr, outer} {
			got := k.send(packet{src: src, dst: dst, proto: "tcp"})
			if got[fate{verdict: "ACCEPT", to: dst}] != 1 {
				t.Fatalf("%v -> %v: %v", src, dst, got)
			}
		}
	})
}

// TestRenderIsAFunction: neither the order of ports nor the history of changes shows in the rules.
func TestRenderIsAFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := genPorts(t, 40)
		cfg := RenderConfig{ClusterCIDRs: []netip.Prefix{podCIDR}}
		want, _ := Render(cfg, ports)
		shuffled, _ := Render(cfg, rapid.Permutation(ports).Draw(t, "order"))
		if want.Text() != shuffled.Text() {
			t.Fatal("the order of ports shows in the rules")
		}
		r, _ := newRenderer(cfg)
		for _, p := range genPorts(t, 40) { // an earlier life of other services
			r.set(serviceKey{p.Namespace, p.Name}, []ServicePort{p})
			r.set(serviceKey{"gone", p.Name}, []ServicePort{p})
		}
		r.ruleset()
		for k := range maps.Clone(r.pieces) {
			r.set(k, nil)
		}
		for _, p := range ports {
			r.set(serviceKey{p.Namespace, p.Name}, []ServicePort{p})
		}
		if got := r.ruleset().Text(); got != want.Text() {
			t.Fatalf("the history shows in the rules:\n%s\nwant\n%s", got, want.Text())
		}
	})
}

// TestRuleCount guards the size of the rules, and the way of a packet through them.
func TestRuleCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := genPorts(t, 120)
		set, _ := Render(RenderConfig{ClusterCIDRs: []netip.Prefix{podCIDR}}, ports)
		_, rules := set.Count()
		most := 40 // those that exist once
		for _, p := range ports {
			addresses := 2 + len(p.ExternalIPs) + len(p.LoadBalancerIPs)
			most += 8 + 3*addresses + len(p.SourceRanges) + 7*len(p.Endpoints)
		}
		if rules > most {
			t.Fatalf("%d rules, want at most %d", rules, most)
		}
		for _, table := range set.Tables {
			for _, c := range table.Chains {
				if len(c.Name) > maxChainName {
					t.Fatalf("the name %s has %d characters", c.Name, len(c.Name))
				}
			}
		}
	})
}

// TestShortWays: with five thousand services a packet meets tens of rules, not thousands.
func TestShortWays(t *testing.T) {
	set, err := Render(RenderConfig{}, manyPorts(5000, 4))
	if err != nil {
		t.Fatal(err)
	}
	k := newKernel(set.Text(), nodeAddr)
	longest := 0
	for i := 0; i < 5000; i += 7 {
		got := k.send(packet{src: podAddr, dst: netip.AddrPortFrom(manyAddr(i), 80), proto: "tcp"})
		if len(got) != 4 {
			t.Fatalf("service %d: %v", i, got)
		}
		longest = max(longest, k.steps)
	}
	if longest > 100 {
		t.Errorf("a packet to a service meets up to %d rules", longest)
	}
	k.send(packet{src: podAddr, dst: netip.MustParseAddrPort("198.51.100.1:443"), proto: "tcp"})
	if k.steps > 30 {
		t.Errorf("a packet that is for no service meets %d rules", k.steps)
	}
	t.Logf("to a service at most %d rules, past them %d", longest, k.steps)
}

func manyAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 96 + byte(i>>16), byte(i >> 8), byte(i)})
}

// manyPorts returns n services with m endpoints each.
func manyPorts(n, m int) []ServicePort {
	ports := make([]ServicePort, n)
	for i := range ports {
		p := ServicePort{Namespace: "default", Name: fmt.Sprintf("s-%05d", i), PortName: "http", Protocol: "TCP", ClusterIP: manyAddr(i), Port: 80}
		for e := range m {
			k := i*m + e
			a := netip.AddrFrom4([4]byte{10, 128 + byte(k>>16), byte(k >> 8), byte(k)})
			p.Endpoints = append(p.Endpoints, Endpoint{Addr: netip.AddrPortFrom(a, 8080), Ready: true, Serving: true})
		}
		ports[i] = p
	}
	return ports
}
