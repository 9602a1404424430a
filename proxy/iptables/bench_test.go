package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/inboard/inboard/proxy"
)

// manyPorts returns n services with four endpoints each.
func manyPorts(n int) []proxy.ServicePort {
	ports := make([]proxy.ServicePort, n)
	for i := range ports {
		ports[i] = port(0, "")
		ports[i].Name = fmt.Sprintf("s-%05d", i)
		ports[i].ClusterIP = netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})
		for e := range 4 {
			k := 4*i + e
			a := netip.AddrFrom4([4]byte{10, 128 + byte(k>>16), byte(k >> 8), byte(k)})
			ports[i].Endpoints = append(ports[i].Endpoints, proxy.Endpoint{Addr: netip.AddrPortFrom(a, 8080), Ready: true})
		}
	}
	return ports
}

// BenchmarkApply measures the first Apply, one after a change of one service, the look whether all
// is there, and Remove.
func BenchmarkApply(b *testing.B) {
	needNetns(b)
	ctx := context.Background()
	for _, n := range []int{100, 1000, 5000} {
		ports := manyPorts(n)
		rules, err := proxy.Render(podsKnown, ports)
		must(b, err)
		change := ports[n/2]
		change.Endpoints = change.Endpoints[:3]
		changed, err := proxy.Render(podsKnown, append(append(ports[:n/2:n/2], change), ports[n/2+1:]...))
		must(b, err)
		a, err := New(Config{})
		must(b, err)
		b.Run(fmt.Sprintf("first/services=%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, a.Apply(ctx, rules, false))
				b.StopTimer()
				if b.N > 1 {
					must(b, a.Remove(ctx, rules.Prefix))
				}
				b.StartTimer()
			}
		})
		must(b, a.Apply(ctx, rules, false))
		b.Run(fmt.Sprintf("change/services=%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				must(b, a.Apply(ctx, []*proxy.Ruleset{changed, rules}[i%2], false))
			}
		})
		b.Run(fmt.Sprintf("intact/services=%d", n), func(b *testing.B) {
			must(b, a.Apply(ctx, rules, false))
			for b.Loop() {
				ok, err := a.Intact(ctx, rules)
				must(b, err)
				if !ok {
					b.Fatal("not intact")
				}
			}
		})
		b.Run(fmt.Sprintf("remove/services=%d", n), func(b *testing.B) {
			for b.Loop() {
				must(b, a.Remove(ctx, rules.Prefix))
				b.StopTimer()
				if b.N > 1 {
					must(b, a.Apply(ctx, rules, false))
				}
				b.StartTimer()
			}
		})
	}
}
