package iptables

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/inboard/inboard/proxy"
)

// world is a node in miniature: the namespace that the test runs in is the node, with a bridge for
// pods; each pod is a namespace behind a veth. A client beyond the node has a namespace as well.
type world struct {
	t      testing.TB
	bridge *netlink.Bridge
	pods   map[string]*pod
}

// pod is a namespace with an address.
type pod struct {
	t    testing.TB
	name string
	addr string
	ns   netns.NsHandle
}

const (
	bridgeAddr = "10.244.0.1/24"
	outerNode  = "192.0.2.1/24"
)

// newWorld makes the node: pods live in 10.244.0.0/24, other machines in 192.0.2.0/24. A default
// route makes service addresses routable, as on any node.
func newWorld(t testing.TB) *world {
	needNetns(t)
	w := &world{t: t, pods: map[string]*pod{}}
	w.bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods0"}}
	must(t, netlink.LinkAdd(w.bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(w.bridge) })
	w.address(w.bridge, bridgeAddr)
	sysctl(t, "net/ipv4/ip_forward", "1")
	return w
}

func sysctl(t testing.TB, name, value string) {
	t.Helper()
	s := sysctls{root: "/proc/sys", before: map[string]string{}}
	must(t, s.set(name, value))
	t.Cleanup(func() { _ = s.restoreAll() })
}

func (w *world) address(l netlink.Link, cidr string) {
	a, err := netlink.ParseAddr(cidr)
	must(w.t, err)
	must(w.t, netlink.AddrAdd(l, a))
	must(w.t, netlink.LinkSetUp(l))
}

// pod starts a pod with the address 10.244.0.host.
func (w *world) pod(name string, host int) *pod {
	p := w.namespace(name, fmt.Sprintf("10.244.0.%d", host), "10.244.0.1")
	l, err := netlink.LinkByName("v-" + name)
	must(w.t, err)
	must(w.t, netlink.LinkSetMaster(l, w.bridge))
	must(w.t, netlink.LinkSetHairpin(l, true)) // as a kubelet does
	must(w.t, netlink.LinkSetUp(l))
	return p
}

// outsider starts another machine, 192.0.2.host, whose gateway is the node; and makes it the node's.
func (w *world) outsider(name string, host int) *pod {
	p := w.namespace(name, fmt.Sprintf("192.0.2.%d", host), "192.0.2.1")
	l, err := netlink.LinkByName("v-" + name)
	must(w.t, err)
	w.address(l, outerNode)
	must(w.t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(p.addr)}))
	return p
}

// namespace makes a namespace with one end of a veth; the other, v-name, is left to the caller.
func (w *world) namespace(name, addr, gateway string) *pod {
	p := &pod{t: w.t, name: name, addr: addr}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, so its namespace never leaks
		here, err := netns.Get()
		if err == nil {
			p.ns, err = netns.New()
			_ = netns.Set(here)
			_ = here.Close()
		}
		made <- err
	}()
	must(w.t, <-made)
	w.t.Cleanup(func() { _ = p.ns.Close() })
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v-" + name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns)}
	must(w.t, netlink.LinkAdd(veth))
	w.t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	p.inside(func() error {
		h, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		for link, cidr := range map[string]string{"lo": "127.0.0.1/8", "eth0": addr + "/24"} {
			l, err := h.LinkByName(link)
			if err != nil {
				return err
			}
			a, _ := netlink.ParseAddr(cidr)
			_ = h.AddrAdd(l, a)
			if err := h.LinkSetUp(l); err != nil {
				return err
			}
		}
		return h.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
	})
	w.pods[name] = p
	return p
}

// inside runs f on a thread in the pod's namespace. Sockets that f opens stay there.
func (p *pod) inside(f func() error) {
	p.t.Helper()
	must(p.t, p.try(f))
}

func (p *pod) try(f func() error) error {
	if p == nil {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(p.ns)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// serve answers every TCP connection and UDP packet to the port with the pod's name and the client's
// address. stop ends it; connections that were accepted are answered.
func (p *pod) serve(port int) (stop func()) {
	var l net.Listener
	var u net.PacketConn
	p.inside(func() (err error) {
		if l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port)); err == nil {
			u, err = net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		}
		return err
	})
	var wg sync.WaitGroup
	wg.Go(func() { p.answerTCP(l) })
	wg.Go(func() { p.answerUDP(u) })
	stop = sync.OnceFunc(func() { _ = l.Close(); _ = u.Close(); wg.Wait() })
	p.t.Cleanup(stop)
	return stop
}

func (p *pod) answerTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = fmt.Fprintf(c, "%s %s\n", p.name, host)
		_ = c.Close()
	}
}

func (p *pod) answerUDP(u net.PacketConn) {
	b := make([]byte, 64)
	for {
		_, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = u.WriteTo([]byte(p.name+" "+host+"\n"), from)
	}
}

// answer is who answered, and which client address it saw.
type answer struct{ pod, client string }

// call connects from the pod, or from the node when p is nil, and returns the answer.
func (p *pod) call(network, addr string) (a answer, err error) {
	err = p.try(func() error {
		c, err := net.DialTimeout(network, addr, 2*time.Second)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		a, err = ask(c)
		return err
	})
	return a, err
}

// ask sends a packet, where it needs one, and reads the answer.
func ask(c net.Conn) (a answer, err error) {
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if strings.HasPrefix(c.LocalAddr().Network(), "udp") {
		if _, err := c.Write([]byte("?")); err != nil {
			return a, err
		}
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return a, err
	}
	a.pod, a.client, _ = strings.Cut(strings.TrimSpace(line), " ")
	return a, nil
}

// dial opens a UDP socket that stays open.
func (p *pod) dial(addr string) (c net.Conn) {
	p.t.Helper()
	p.inside(func() (err error) { c, err = net.Dial("udp4", addr); return err })
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// all calls until each of the pods answered, and fails when anybody else does.
func (w *world) all(from *pod, network, addr string, want ...string) {
	w.t.Helper()
	missing := map[string]bool{}
	for _, n := range want {
		missing[n] = true
	}
	for i := 0; len(missing) > 0; i++ {
		a, err := from.call(network, addr)
		if err != nil {
			w.t.Fatalf("%s %s: %v", network, addr, err)
		}
		if !contains(want, a.pod) {
			w.t.Fatalf("%s %s: answered by %q, want one of %v", network, addr, a.pod, want)
		}
		delete(missing, a.pod)
		if i > 500 {
			w.t.Fatalf("%s %s: never answered by %v", network, addr, missing)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(...any)
}

// saved returns what iptables-save tells, without comments and counters.
func saved(t fataler) string {
	t.Helper()
	out, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	var keep []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, ":") {
			line = line[:strings.LastIndex(line, " [")]
		}
		if !strings.HasPrefix(line, "#") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

// apply renders the ports and brings them into the kernel until the test ends.
func apply(t testing.TB, a *Applier, cfg proxy.RenderConfig, ports ...proxy.ServicePort) *proxy.Ruleset {
	t.Helper()
	rules, err := proxy.Render(cfg, ports)
	must(t, err)
	must(t, a.Apply(context.Background(), rules, false))
	return rules
}

func newApplier(t testing.TB) *Applier {
	t.Helper()
	needNetns(t)
	a, err := New(Config{})
	must(t, err)
	t.Cleanup(func() { must(t, a.Remove(context.Background(), "INBOARD-")) })
	return a
}

// port returns a service port 10.96.0.n:80 with endpoints on 10.244.0.host:8080.
func port(n int, proto string, hosts ...int) proxy.ServicePort {
	p := proxy.ServicePort{
		Namespace: "default", Name: fmt.Sprintf("s%d", n), Protocol: "TCP", Port: 80,
		ClusterIP: netip.AddrFrom4([4]byte{10, 96, 0, byte(n)}),
	}
	if proto != "" {
		p.Protocol = "UDP"
		p.PortName = proto
	}
	for _, h := range hosts {
		p.Endpoints = append(p.Endpoints, proxy.Endpoint{
			Addr:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, byte(h)}), 8080),
			Ready: true, Serving: true, Local: true,
		})
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
