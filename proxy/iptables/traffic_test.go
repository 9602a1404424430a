package iptables

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/proxy"
)

var podsKnown = proxy.RenderConfig{ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}

// TestTraffic follows real connections through a node with three pods.
func TestTraffic(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	for i, name := range []string{"a", "b", "c"} {
		w.pod(name, 10+i).serve(8080)
	}
	tcp, udp := port(10, "", 10, 11, 12), port(10, "dns", 10, 11, 12)
	tcp.NodePort, udp.NodePort = 30080, 30080
	apply(t, newApplier(t), podsKnown, tcp, udp)

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

// TestSpread: each endpoint gets its share of a thousand connections.
func TestSpread(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a", "b", "c", "d"} {
		w.pod(name, 10+i).serve(8080)
	}
	w.outsider("gateway", 9) // a default route
	apply(t, newApplier(t), podsKnown, port(10, "", 10, 11, 12, 13))
	got := map[string]int{}
	for range 1000 {
		a, err := (*pod)(nil).call("tcp4", "10.96.0.10:80")
		must(t, err)
		got[a.pod]++
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		// Six standard deviations around 250.
		if n := got[name]; n < 168 || n > 332 {
			t.Errorf("%s got %d of 1000 connections, want about 250: %v", name, n, got)
		}
	}
}

// TestWhoIsSeen: pods are seen by endpoints as who they are, also through a bridge and by themselves
// where they can be; clients outside only with the policy Local.
func TestWhoIsSeen(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	for i, name := range []string{"a", "b"} {
		w.pod(name, 10+i).serve(8080)
	}
	web, local := port(10, "", 10), port(11, "", 10)
	web.NodePort, local.NodePort = 30080, 30081
	local.ExternalLocal = true
	apply(t, newApplier(t), podsKnown, web, local)
	for _, c := range []struct {
		from *pod
		to   string
		want string
	}{
		{w.pods["b"], "10.96.0.10:80", "10.244.0.11"},
		{w.pods["a"], "10.96.0.10:80", "10.244.0.1"}, // itself, by way of the node
		{client, "192.0.2.1:30080", "10.244.0.1"},
		{client, "192.0.2.1:30081", "192.0.2.9"},
		{w.pods["b"], "192.0.2.1:30081", "10.244.0.11"},
	} {
		a, err := c.from.call("tcp4", c.to)
		if err != nil || a.client != c.want {
			t.Errorf("%s -> %s is seen as %q, want %s (%v)", c.from.name, c.to, a.client, c.want, err)
		}
	}
}

// TestBridgeUnseen: where the kernel does not show bridged packets to iptables, answers from one pod
// to another pass the node by, and the client does not know them. MasqueradeAll is the way out.
func TestBridgeUnseen(t *testing.T) {
	w := newWorld(t)
	w.outsider("gateway", 9)
	for i, name := range []string{"a", "b"} {
		w.pod(name, 10+i).serve(8080)
	}
	cfg := podsKnown
	cfg.MasqueradeAll = true
	apply(t, newApplier(t), cfg, port(10, "", 10))
	sysctl(t, "net/bridge/bridge-nf-call-iptables", "0")
	for _, from := range []string{"a", "b"} {
		a, err := w.pods[from].call("tcp4", "10.96.0.10:80")
		if err != nil || a.client != "10.244.0.1" {
			t.Errorf("from %s: %v, %v", from, a, err)
		}
	}
}

// TestRefused: without endpoints, or without a service, clients are told at once. By UDP they are told by ICMP, of which the
// kernel sends few to the same client, and so may have to try again.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	w.pod("a", 10)
	tcp, udp := port(10, ""), port(10, "dns")
	tcp.NodePort, udp.NodePort = 30080, 30080
	cfg := podsKnown
	cfg.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}
	apply(t, newApplier(t), cfg, tcp, udp)
	for _, from := range []*pod{nil, w.pods["a"], client} {
		for _, to := range []string{"10.96.0.10:80", "10.96.0.10:81", "10.96.7.7:80", "192.0.2.1:30080"} {
			start := time.Now()
			_, err := from.call("tcp4", to)
			if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > time.Second {
				t.Errorf("TCP to %s: %v after %v, want connection refused", to, err, time.Since(start))
			}
		}
	}
	err := error(nil)
	for try := 0; try < 5 && !errors.Is(err, syscall.ECONNREFUSED); try++ {
		_, err = w.pods["a"].call("udp4", "10.96.0.10:80")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("UDP: %v, want connection refused", err)
	}
	if _, err := (*pod)(nil).call("udp4", "10.96.0.10:80"); err == nil {
		t.Error("UDP from the node: an answer, from nowhere")
	}
}

// TestAffinity: a client stays at its endpoint while others are spread; when the endpoint goes, it
// gets another and stays there.
func TestAffinity(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a", "b", "c", "client"} {
		w.pod(name, 10+i).serve(8080)
	}
	from := w.pods["client"]
	web := port(10, "", 10, 11, 12)
	web.Affinity = time.Hour
	a := newApplier(t)
	apply(t, a, podsKnown, web)
	stays := func() string {
		t.Helper()
		first, err := from.call("tcp4", "10.96.0.10:80")
		must(t, err)
		for range 30 {
			next, err := from.call("tcp4", "10.96.0.10:80")
			must(t, err)
			if next.pod != first.pod {
				t.Fatalf("moved from %s to %s", first.pod, next.pod)
			}
		}
		return first.pod
	}
	first := stays()
	t.Log("a change elsewhere in the service does not move it")
	apply(t, a, podsKnown, web, port(11, "", 10))
	if again := stays(); again != first {
		t.Errorf("moved from %s to %s", first, again)
	}
	for i, name := range []string{"a", "b", "c"} {
		if name == first {
			web.Endpoints = append(web.Endpoints[:i:i], web.Endpoints[i+1:]...)
		}
	}
	apply(t, a, podsKnown, web)
	if next := stays(); next == first {
		t.Errorf("still at %s", first)
	}
}

// TestSourceRanges: a load balancer address lets in its own clients only.
func TestSourceRanges(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	w.pod("a", 10).serve(8080)
	web := port(10, "", 10)
	web.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.80")}
	web.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	a := newApplier(t)
	apply(t, a, podsKnown, web)
	w.all(client, "tcp4", "203.0.113.80:80", "a")
	web.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	apply(t, a, podsKnown, web)
	err := client.try(func() error {
		c, err := net.DialTimeout("tcp4", "203.0.113.80:80", 300*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if err == nil {
		t.Error("a client from elsewhere got in")
	}
}

// TestGracefulChange: endpoints come and go while clients connect, and no connection fails, as long
// as an endpoint answers until the rules no longer lead to it.
func TestGracefulChange(t *testing.T) {
	w := newWorld(t)
	w.outsider("gateway", 9)
	for i := range 4 {
		w.pod(string(rune('a'+i)), 10+i).serve(8080)
	}
	a := newApplier(t)
	sets := [][]int{{10}, {10, 11}, {11, 12}, {10, 11, 12, 13}, {13}}
	apply(t, a, podsKnown, port(10, "", 10))
	var calls, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, from := range []*pod{nil, w.pods["d"]} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := from.call("tcp4", "10.96.0.10:80"); err != nil {
					failed.Add(1)
					t.Log(err)
				}
				calls.Add(1)
			}
		})
	}
	for i := range 40 {
		if i == 20 {
			a = newApplier(t) // a proxy that was killed starts again
		}
		rules, err := proxy.Render(podsKnown, []proxy.ServicePort{port(10, "", sets[i%len(sets)]...), port(i%7+20, "", 11)})
		must(t, err)
		must(t, a.Apply(context.Background(), rules, i%10 == 9))
	}
	close(stop)
	wg.Wait()
	if failed.Load() > 0 || calls.Load() < 100 {
		t.Errorf("%d of %d connections failed", failed.Load(), calls.Load())
	}
	t.Logf("%d connections through 40 changes and a restart", calls.Load())
}

// TestStaleUDP: a UDP client that never stops sending is sent to another endpoint when its own goes,
// and to the first one that comes.
func TestStaleUDP(t *testing.T) {
	w := newWorld(t)
	w.outsider("gateway", 9)
	for i, name := range []string{"a", "b", "client"} {
		w.pod(name, 10+i).serve(8080)
	}
	a := newApplier(t)
	addr := netip.MustParseAddrPort("10.96.0.10:80")
	set := func(hosts ...int) {
		t.Helper()
		p := port(10, "dns", hosts...)
		p.NodePort = 30053
		apply(t, a, podsKnown, p)
		f := &proxy.Flows{Services: map[netip.AddrPort][]netip.AddrPort{addr: nil}, NodePorts: map[uint16][]netip.AddrPort{30053: nil}}
		for _, e := range p.Endpoints {
			f.Services[addr] = append(f.Services[addr], e.Addr)
			f.NodePorts[30053] = append(f.NodePorts[30053], e.Addr)
		}
		must(t, a.ForgetFlows(context.Background(), f))
	}
	set(10)
	byIP, byPort := w.pods["client"].dial("10.96.0.10:80"), (*pod)(nil).dialHere(t, "127.0.0.1:30053")
	other := w.pods["client"].dial("10.244.0.11:8080") // no service: stays out of it
	expect := func(want string) {
		t.Helper()
		for what, c := range map[string]net.Conn{"cluster IP": byIP, "node port": byPort} {
			if got, err := ask(c); err != nil || got.pod != want {
				t.Errorf("by %s: %q answers, want %q (%v)", what, got.pod, want, err)
			}
		}
		if got, err := ask(other); err != nil || got.pod != "b" {
			t.Errorf("a flow to no service: %q (%v)", got.pod, err)
		}
	}
	expect("a")
	set(11)
	expect("b")
	set()
	if _, err := ask(byIP); err == nil {
		t.Error("still answered, without endpoints")
	}
	set(10)
	expect("a")
}

func (p *pod) dialHere(t testing.TB, addr string) net.Conn {
	c, err := net.Dial("udp4", addr)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestHostNetwork: endpoints may be on the node itself, at its address or on loopback.
func TestHostNetwork(t *testing.T) {
	w := newWorld(t)
	client := w.outsider("client", 9)
	w.pod("a", 10)
	node := &pod{t: t, name: "node"}
	l, err := net.Listen("tcp4", "0.0.0.0:8080")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { node.answerTCP(l) })
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	for i, addr := range []string{"192.0.2.1:8080", "127.0.0.1:8080"} {
		p := port(10+i, "")
		p.NodePort = uint16(30080 + i)
		p.Endpoints = []proxy.Endpoint{{Addr: netip.MustParseAddrPort(addr), Ready: true, Local: true}}
		apply(t, newApplier(t), podsKnown, p)
		for _, to := range []string{p.ClusterIP.String() + ":80", "127.0.0.1:" + []string{"30080", "30081"}[i]} {
			if _, err := (*pod)(nil).call("tcp4", to); err != nil {
				t.Errorf("from the node by %s to %s: %v", to, addr, err)
			}
		}
		for _, from := range []*pod{client, w.pods["a"]} {
			if _, err := from.call("tcp4", p.ClusterIP.String()+":80"); err != nil {
				t.Errorf("from %s to %s: %v", from.name, addr, err)
			}
		}
	}
}

// TestIPv6: the same by the other family, from a pod to itself and from the node.
func TestIPv6(t *testing.T) {
	if _, err := lookPath("ip6tables-restore"); err != nil {
		t.Skip("needs ip6tables:", err)
	}
	w := newWorld(t)
	a := w.pod("a", 10)
	sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	address6(t, w.bridge.Name, "fd00:10:244::1/64")
	a.inside(func() error {
		address6(t, "eth0", "fd00:10:244::a/64")
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("fd00:10:244::1")})
	})
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: w.bridge.Index, Dst: &net.IPNet{IP: net.ParseIP("fd00:10:96::"), Mask: net.CIDRMask(64, 128)}}))
	var l net.Listener
	a.inside(func() (err error) { l, err = net.Listen("tcp6", "[fd00:10:244::a]:8080"); return err })
	var wg sync.WaitGroup
	wg.Go(func() { a.answerTCP(l) })
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })

	cfg := proxy.RenderConfig{Family: proxy.IPv6, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("fd00:10:244::/56")}}
	p := proxy.ServicePort{
		Namespace: "default", Name: "six", Protocol: "TCP", ClusterIP: netip.MustParseAddr("fd00:10:96::10"), Port: 80, NodePort: 30080,
		Endpoints: []proxy.Endpoint{{Addr: netip.MustParseAddrPort("[fd00:10:244::a]:8080"), Ready: true}},
	}
	applier := newApplier(t)
	rules := apply(t, applier, cfg, p)
	for what, from := range map[string]*pod{"the node": nil, "the pod itself": a} {
		for _, to := range []string{"[fd00:10:96::10]:80", "[fd00:10:244::1]:30080"} {
			if got, err := from.call("tcp6", to); err != nil || got.client != "fd00:10:244::1" {
				t.Errorf("from %s to %s: %v, %v", what, to, got, err)
			}
		}
	}
	if ok, err := applier.Intact(context.Background(), rules); !ok || err != nil {
		t.Errorf("intact %v, %v", ok, err)
	}
}

// address6 adds an address that is usable at once.
func address6(t testing.TB, link, cidr string) {
	l, err := netlink.LinkByName(link)
	must(t, err)
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	a.Flags = unix.IFA_F_NODAD
	must(t, netlink.AddrAdd(l, a))
}
