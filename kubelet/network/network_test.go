package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/kubelet"
)

// TestMain moves the tests into a network namespace of their own.
func TestMain(m *testing.M) {
	nstest.Enter()
	goleak.VerifyTestMain(m)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: links and rules are root's")
	}
}

func openNet(t testing.TB, cfg Config) *Network {
	t.Helper()
	needRoot(t)
	if cfg.Owner == "" {
		cfg.Owner = t.Name()
	}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// newNS makes a network namespace and returns its path.
func newNS(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		_, err := netns.New()
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// in runs f in a namespace.
func in(t testing.TB, path string, f func() error) error {
	t.Helper()
	ns, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	return (&hostNS{ns}).do(f)
}

// say opens a connection from one namespace to a listener in another.
func say(t testing.TB, from, to, addr string) error {
	t.Helper()
	var l net.Listener
	err := in(t, to, func() (err error) { l, err = net.Listen("tcp4", ":0"); return })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	return in(t, from, func() error {
		c, err := net.Dial("tcp4", net.JoinHostPort(addr, fmt.Sprint(port)))
		if err == nil {
			c.Close()
		}
		return err
	})
}

func snapshot(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		fmt.Fprintln(&b, l.Attrs().Name)
	}
	for _, table := range []string{"nat", "filter"} {
		out, err := exec.Command("iptables-save", "-t", table).Output()
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(out)) {
			if strings.Contains(l, "INBPOD-") {
				b.WriteString(l)
			}
		}
	}
	forward, _ := readSysctl("net/ipv4/ip_forward")
	return b.String() + "forward " + forward
}

func TestPodsReachEachOther(t *testing.T) {
	n := openNet(t, Config{})
	ctx := context.Background()
	a, b := newNS(t), newNS(t)
	addrA, err := n.Attach(ctx, "a", a, nil)
	if err != nil {
		t.Fatal(err)
	}
	addrB, err := n.Attach(ctx, "b", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.Attach(ctx, "a", a, nil); again != addrA || err != nil {
		t.Errorf("second Attach = %s, %v", again, err)
	}
	host := "/proc/thread-self/ns/net"
	for _, tc := range []struct{ name, from, to, addr string }{
		{"pod to pod", a, b, addrB.String()}, {"node to pod", host, b, addrB.String()},
		{"pod to node", b, host, n.Gateway().String()}, {"pod to itself", a, a, addrA.String()}, {"loopback", a, a, "127.0.0.1"},
	} {
		if err := say(t, tc.from, tc.to, tc.addr); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if err := n.Detach("a"); err != nil {
		t.Fatal(err)
	}
	if err := n.Detach("a"); err != nil {
		t.Errorf("second Detach: %v", err)
	}
}

// TestMasquerade lets a pod speak to a machine beyond the node that knows nothing of pods.
func TestMasquerade(t *testing.T) {
	n := openNet(t, Config{})
	outside := newNS(t)
	ns, err := netns.GetFromPath(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "up", PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	defer netlink.LinkDel(veth)
	addr := func(s string) *netlink.Addr {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := errors.Join(netlink.AddrAdd(veth, addr("192.0.2.1/24")), netlink.LinkSetUp(veth)); err != nil {
		t.Fatal(err)
	}
	err = in(t, outside, func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(up, addr("192.0.2.2/24")), netlink.LinkSetUp(up))
	})
	if err != nil {
		t.Fatal(err)
	}
	pod := newNS(t)
	if _, err := n.Attach(context.Background(), "p", pod, nil); err != nil {
		t.Fatal(err)
	}
	if err := say(t, pod, outside, "192.0.2.2"); err != nil {
		t.Errorf("pod to outside: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	needRoot(t)
	before := snapshot(t)
	n := openNet(t, Config{})
	if _, err := n.Attach(context.Background(), "a", newNS(t), []kubelet.PortMapping{{Protocol: "UDP", HostPort: 53, ContainerPort: 53}}); err != nil {
		t.Fatal(err)
	}
	if during := snapshot(t); !strings.Contains(during, "INBPOD-PORT") || !strings.Contains(during, "forward 1") {
		t.Errorf("while open:\n%s", during)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := snapshot(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if _, err := n.Attach(context.Background(), "b", newNS(t), nil); err == nil {
		t.Error("Attach after Close works")
	}
}

// TestLeftovers forgets a network, as a program that is killed does.
func TestLeftovers(t *testing.T) {
	needRoot(t)
	before := snapshot(t)
	abandon := func() {
		n, err := Open(Config{Owner: "killed"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Attach(context.Background(), "a", newNS(t), []kubelet.PortMapping{{Protocol: "TCP", HostPort: 80, ContainerPort: 80}}); err != nil {
			t.Fatal(err)
		}
		n.nl.Close()
		n.host.close()
	}
	abandon()
	n := openNet(t, Config{Owner: "killed"})
	if n.Bridge() != "inboard0" {
		t.Errorf("the bridge is %s: the old one was not removed", n.Bridge())
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	abandon()
	for range 2 {
		if err := Purge(Config{Owner: "killed"}); err != nil {
			t.Fatal(err)
		}
	}
	if after := snapshot(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestTwoNetworks closes the one that was opened first: the other must go on working.
func TestTwoNetworks(t *testing.T) {
	a := openNet(t, Config{Owner: "one"})
	b := openNet(t, Config{Owner: "two", PodCIDR: netip.MustParsePrefix("10.99.0.0/24")})
	if a.Bridge() == b.Bridge() {
		t.Fatalf("both have %s", a.Bridge())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if now := snapshot(t); !strings.Contains(now, "forward 1") || !strings.Contains(now, "INBPOD-POST-"+b.mark) {
		t.Errorf("after the other's Close:\n%s", now)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if now := snapshot(t); !strings.Contains(now, "forward 0") {
		t.Errorf("after both are closed:\n%s", now)
	}
}

func TestRefusals(t *testing.T) {
	n := openNet(t, Config{PodCIDR: netip.MustParsePrefix("10.9.0.0/29")})
	ctx := context.Background()
	if _, err := Open(Config{Owner: "other", PodCIDR: netip.MustParsePrefix("10.9.0.0/16")}); err == nil || !strings.Contains(err.Error(), "overlaps with 10.9.0.0/29") {
		t.Errorf("Open of an overlapping range: %v", err)
	}
	if _, err := Open(Config{Owner: "other", Bridge: n.Bridge(), PodCIDR: netip.MustParsePrefix("10.10.0.0/24")}); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("Open with a bridge that exists: %v", err)
	}
	if _, err := n.Attach(ctx, "x", "/does/not/exist", nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Attach of nothing: %v", err)
	}
	port := []kubelet.PortMapping{{Protocol: "TCP", HostPort: 80, ContainerPort: 80}}
	for i := range 5 {
		if _, err := n.Attach(ctx, fmt.Sprint(i), newNS(t), port); err != nil {
			t.Fatal(err)
		}
		port = nil
	}
	if _, err := n.Attach(ctx, "full", newNS(t), nil); err == nil || !strings.Contains(err.Error(), "all 5 pod addresses of 10.9.0.0/29 are in use") {
		t.Errorf("Attach to a full range: %v", err)
	}
	for want, p := range map[string]kubelet.PortMapping{
		"is in use by another pod": {Protocol: "TCP", HostIP: "10.9.0.1", HostPort: 80, ContainerPort: 1},
		"is not TCP or UDP":        {Protocol: "SCTP", HostPort: 81, ContainerPort: 1},
		"must not be 0":            {Protocol: "TCP", HostPort: 82},
	} {
		if _, err := n.Attach(ctx, "p", newNS(t), []kubelet.PortMapping{p}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Attach with port %+v: %v, want %q", p, err, want)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := n.Attach(cancelled, "c", newNS(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Attach with a cancelled context: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Config.Owner":              {},
		"Config.Bridge":             {Owner: "o", Bridge: "a/b"},
		"not an IPv4 range":         {Owner: "o", PodCIDR: netip.MustParsePrefix("fd00::/64")},
		"from /8 to /29":            {Owner: "o", PodCIDR: netip.MustParsePrefix("10.0.0.0/31")},
		"did you mean 10.0.0.0/24?": {Owner: "o", PodCIDR: netip.MustParsePrefix("10.0.0.7/24")},
		"Config.MTU":                {Owner: "o", MTU: 5},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%+v): %v, want %q", cfg, err, want)
		}
	}
}

// TestCtrlCSparesRules has programs of iptables run where Ctrl-C in a terminal does not reach them, in
// process groups of their own; one that it has hit before is run again.
func TestCtrlCSparesRules(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	script := "#!/bin/sh\n[ -e $0.hit ] || { touch $0.hit; kill -INT $$; }\necho $$ $(cut -d' ' -f5 /proc/$$/stat)\n"
	if err := os.WriteFile(filepath.Join(dir, "iptables-save"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := currentNS()
	if err != nil {
		t.Fatal(err)
	}
	defer host.close()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	out, err := (&Network{host: host}).run("iptables-save", "")
	if f := strings.Fields(out); err != nil || len(f) != 2 || f[0] != f[1] {
		t.Errorf("process and group: %q, %v", out, err)
	}
}
