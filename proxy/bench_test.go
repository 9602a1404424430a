package proxy

import (
	"fmt"
	"testing"
)

// BenchmarkRender renders all services from nothing.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			ports := manyPorts(n, 4)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Render(RenderConfig{}, ports); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRenderChange renders again after one service out of many has changed.
func BenchmarkRenderChange(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			r, err := newRenderer(RenderConfig{})
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range manyPorts(n, 4) {
				r.set(serviceKey{p.Namespace, p.Name}, []ServicePort{p})
			}
			flip := manyPorts(1, 4)[0]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := flip
				p.Endpoints = p.Endpoints[:1+i%4]
				r.set(serviceKey{p.Namespace, p.Name}, []ServicePort{p})
				r.ruleset()
			}
		})
	}
}
