package proxy

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// FuzzTranslateAndRender: whatever strings stand in the objects, none of them becomes a rule of its
// own, a second line, or a word that iptables would understand otherwise.
func FuzzTranslateAndRender(f *testing.F) {
	f.Add("default", "web", "http", "10.96.0.10", "203.0.113.80", "10.244.0.5", "198.51.100.0/24", int32(80), int32(30080), "TCP")
	f.Add("a\nb", `x" -j ACCEPT -m comment --comment "`, "p'", "10.96.0.10", "::ffff:1.2.3.4", "10.244.0.5\n-A", "0.0.0.0/0", int32(-1), int32(1<<20), "tcp -j DROP")
	f.Add("ü", "\\", strings.Repeat("n", 400), "fd00::1%eth0", "fd00::1", "fd00::2", "::/0", int32(65535), int32(0), "SCTP")
	f.Fuzz(func(t *testing.T, namespace, name, portName, ip, outside, endpoint, source string, port, nodePort int32, protocol string) {
		proto := corev1.Protocol(protocol)
		svc := &corev1.Service{}
		svc.Namespace, svc.Name = namespace, name
		svc.Spec.Type, svc.Spec.ClusterIP = corev1.ServiceTypeLoadBalancer, ip
		svc.Spec.ExternalIPs, svc.Spec.LoadBalancerSourceRanges = []string{outside}, []string{source}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: outside}}
		svc.Spec.Ports = []corev1.ServicePort{{Name: portName, Port: port, NodePort: nodePort, Protocol: proto}}
		slice := &discoveryv1.EndpointSlice{
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &proto}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{endpoint}}},
		}
		for _, family := range []Family{IPv4, IPv6} {
			slice.AddressType = discoveryv1.AddressType(family.String())
			ports := Translate(svc, []*discoveryv1.EndpointSlice{slice}, family, "here")
			set, err := Render(RenderConfig{Family: family}, ports)
			if err != nil {
				t.Fatal(err)
			}
			text := set.Text()
			chains, rules := set.Count()
			if n := strings.Count(text, "\n"); n != chains+rules+2*len(set.Tables) {
				t.Fatalf("%d lines for %d chains and %d rules:\n%s", n, chains, rules, text)
			}
			k := newKernel(text, nodeAddr) // panics on words it does not know
			for _, p := range ports {
				k.send(packet{src: outerOf(family), dst: netip.AddrPortFrom(p.ClusterIP, p.Port), proto: p.protocol()})
			}
			for _, table := range k.tables {
				for _, rules := range table {
					for _, r := range rules {
						k.parse(r)
					}
				}
			}
		}
	})
}

func outerOf(f Family) netip.Addr {
	if f == IPv6 {
		return netip.MustParseAddr("2001:db8::77")
	}
	return outer
}
