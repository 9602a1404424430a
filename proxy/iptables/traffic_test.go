package iptables

import (
	"net/netip"
	"testing"

	"github.com/inboard/inboard/proxy"
)

var podCIDR = proxy.RenderConfig{ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}

// TestTraffic follows real connections through a node with three pods.
func TestTraffic(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	for i, name := range []string{"a", "b", "c"} {
		w.pod(name, 10+i).serve(8080)
	}
	tcp, udp := port(10, "", 10, 11, 12), port(10, "dns", 10, 11, 12)
	tcp.NodePort, udp.NodePort = 30080, 30080
	apply(t, newApplier(t), podCIDR, tcp, udp)

	for _, network := range []string{"tcp4", "udp4"} {
		t.Run(network, func(t *testing.T) {
			w.t = t
			t.Log("the node, a pod and (routed here) another machine reach all pods by the cluster IP")
			w.all(nil, network, "10.96.0.10:80", "a", "b", "c")
			w.all(w.pods["a"], network, "10.96.0.10:80", "a", "b", "c")
			w.all(client, network, "10.96.0.10:80", "a", "b", "c")
			t.Log("and by the node port, on any address of the node, 127.0.0.1 included")
			w.all(nil, network, "127.0.0.1:30080", "a", "b", "c")
			w.all(nil, network, "192.0.2.1:30080", "a", "b", "c")
			w.all(client, network, "192.0.2.1:30080", "a", "b", "c")
			w.all(w.pods["b"], network, "10.244.0.1:30080", "a", "b", "c")
		})
	}
}
