package iptables

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/proxy"
)

// genPorts makes random services.
func genPorts(t *rapid.T) []proxy.ServicePort {
	var ports []proxy.ServicePort
	for i := range rapid.IntRange(0, 20).Draw(t, "services") {
		p := port(i+1, rapid.SampledFrom([]string{"", "dns"}).Draw(t, "protocol"), rapid.SliceOfNDistinct(rapid.IntRange(2, 9), 0, 4, rapid.ID[int]).Draw(t, "endpoints")...)
		if rapid.Bool().Draw(t, "node port") {
			p.NodePort = uint16(30000 + i)
		}
		if rapid.Bool().Draw(t, "outside") {
			p.ExternalIPs = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})}
			p.LoadBalancerIPs = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 114, byte(i)})}
			p.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}
		p.InternalLocal, p.ExternalLocal = rapid.Bool().Draw(t, "internal local"), rapid.Bool().Draw(t, "external local")
		if rapid.Bool().Draw(t, "affinity") {
			p.Affinity = time.Hour
		}
		for e := range p.Endpoints {
			p.Endpoints[e].Local = rapid.Bool().Draw(t, "local")
		}
		ports = append(ports, p)
	}
	return ports
}

// TestDifferenceIsTheWhole: whatever came before, after Apply the kernel holds what it would had
// nothing been there before; and after Remove, nothing of ours.
func TestDifferenceIsTheWhole(t *testing.T) {
	needNetns(t)
	fewer(t, 20)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		a, err := New(Config{})
		check(t, err)
		// Small batches, so that their borders are met.
		f, err := a.family(proxy.IPv4)
		check(t, err)
		f.batch = rapid.SampledFrom([]int{0, 7, 30}).Draw(t, "batch")
		var last *proxy.Ruleset
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			last, err = proxy.Render(podsKnown, genPorts(t))
			check(t, err)
			check(t, a.Apply(ctx, last, rapid.Bool().Draw(t, "full")))
			if ok, err := a.Intact(ctx, last); !ok || err != nil {
				t.Fatalf("intact: %v, %v", ok, err)
			}
		}
		got := saved(t)
		check(t, a.Remove(ctx, last.Prefix))
		if left := ours(saved(t)); left != "" {
			t.Fatalf("left after Remove:\n%s", left)
		}
		b, err := New(Config{})
		check(t, err)
		check(t, b.Apply(ctx, last, false))
		want := saved(t)
		check(t, b.Remove(ctx, last.Prefix))
		if sorted(got) != sorted(want) {
			t.Fatalf("after changes:\n%s\nafter a fresh start:\n%s", got, want)
		}
	})
}

// fewer makes rapid try less often where each try starts dozens of processes.
func fewer(t *testing.T, n int) {
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String()
	if checks.DefValue == before {
		must(t, checks.Value.Set(strconv.Itoa(n)))
		t.Cleanup(func() { must(t, checks.Value.Set(before)) })
	}
}

func check(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ours returns the lines about chains of ours.
func ours(save string) string {
	var out []string
	for line := range strings.Lines(save) {
		if strings.Contains(line, "INBOARD-") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestRulesAreAccepted: iptables-restore accepts everything that is rendered, for both families.
func TestRulesAreAccepted(t *testing.T) {
	needNetns(t)
	fewer(t, 40)
	rapid.Check(t, func(t *rapid.T) {
		ports := genPorts(t)
		for family, program := range map[proxy.Family]string{proxy.IPv4: "iptables-restore", proxy.IPv6: "ip6tables-restore"} {
			cfg := podsKnown
			cfg.Family = family
			cfg.MasqueradeAll = rapid.Bool().Draw(t, "masquerade all")
			if family == proxy.IPv6 {
				cfg.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("fd00:10:244::/48")}
				ports = toIPv6(ports)
			}
			rules, err := proxy.Render(cfg, ports)
			check(t, err)
			cmd := exec.Command(program, "--test", "--noflush")
			cmd.Stdin = strings.NewReader(rules.Text())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s\n%s", program, err, out, rules.Text())
			}
		}
	})
}

// toIPv6 moves the services to addresses of the other family.
func toIPv6(ports []proxy.ServicePort) []proxy.ServicePort {
	up := func(a netip.Addr) netip.Addr {
		b := netip.MustParseAddr("fd00:10::").As16()
		v4 := a.As4()
		copy(b[12:], v4[:])
		return netip.AddrFrom16(b)
	}
	for i := range ports {
		p := &ports[i]
		p.ClusterIP = up(p.ClusterIP)
		for j := range p.ExternalIPs {
			p.ExternalIPs[j], p.LoadBalancerIPs[j] = up(p.ExternalIPs[j]), up(p.LoadBalancerIPs[j])
			p.SourceRanges[j] = netip.MustParsePrefix("2001:db8::/32")
		}
		for j, e := range p.Endpoints {
			p.Endpoints[j].Addr = netip.AddrPortFrom(up(e.Addr.Addr()), e.Addr.Port())
		}
	}
	return ports
}

// TestFlushIsSeen: every way to lose the rules at large is seen, and mended by the next full Apply.
func TestFlushIsSeen(t *testing.T) {
	a := newApplier(t)
	ctx := context.Background()
	rules := apply(t, a, podsKnown, port(10, "", 10))
	before := sorted(saved(t))
	for _, command := range []string{
		"iptables -t nat -F",
		"iptables -t filter -F",
		"iptables -t nat -F INBOARD-SERVICES",
		"iptables -t nat -F; iptables -t nat -X",
		"iptables -t nat -D PREROUTING -j INBOARD-SERVICES",
		"iptables -t filter -D FORWARD -j INBOARD-FORWARD",
		"echo '*nat\nCOMMIT' | iptables-restore",
		"if iptables --version | grep -q nf_tables && command -v nft; then nft flush ruleset; else iptables -t nat -F; fi",
	} {
		if ok, err := a.Intact(ctx, rules); !ok || err != nil {
			t.Fatalf("before %q: intact %v, %v", command, ok, err)
		}
		must(t, exec.Command("sh", "-c", command).Run())
		if ok, err := a.Intact(ctx, rules); ok || err != nil {
			t.Errorf("after %q: intact %v, %v", command, ok, err)
		}
		must(t, a.Apply(ctx, rules, true))
		if after := sorted(saved(t)); after != before {
			t.Errorf("after %q and Apply:\n%s\nwant\n%s", command, after, before)
		}
	}
}

func sorted(save string) string {
	lines := strings.Split(save, "\n")
	// Chains are listed in the order in which they were made; rules keep theirs.
	var chains, rest []string
	for _, l := range lines {
		if strings.HasPrefix(l, ":") {
			chains = append(chains, l)
		} else {
			rest = append(rest, l)
		}
	}
	slices.Sort(chains)
	byChain := map[string][]string{}
	for _, l := range rest {
		f := strings.Fields(l)
		if len(f) > 1 && f[0] == "-A" {
			byChain[f[1]] = append(byChain[f[1]], l)
		}
	}
	for _, c := range slices.Clone(chains) {
		chains = append(chains, byChain[strings.Fields(c[1:])[0]]...)
	}
	return strings.Join(chains, "\n")
}

// TestFailureIsMended: when an Apply fails halfway because of others, the next one writes everything.
func TestFailureIsMended(t *testing.T) {
	a := newApplier(t)
	ctx := context.Background()
	apply(t, a, podsKnown, port(10, "", 10))
	must(t, exec.Command("sh", "-c", "iptables -t nat -F; iptables -t nat -X").Run())
	one, err := proxy.Render(podsKnown, []proxy.ServicePort{port(10, "", 10, 11)})
	must(t, err)
	err = a.Apply(ctx, one, false)
	if err == nil || !strings.Contains(err.Error(), "iptables-restore") {
		t.Fatalf("error %v, want one of iptables-restore", err)
	}
	t.Log(err)
	must(t, a.Apply(ctx, one, false))
	if ok, err := a.Intact(ctx, one); !ok || err != nil {
		t.Errorf("intact %v, %v", ok, err)
	}
}

// TestEarlierLife: what a killed proxy left is taken over, what is not needed is removed.
func TestEarlierLife(t *testing.T) {
	a := newApplier(t)
	apply(t, a, podsKnown, port(10, "", 10), port(11, "", 11))
	b := newApplier(t)
	apply(t, b, podsKnown, port(10, "", 10))
	if s := saved(t); strings.Contains(s, "default/s11") || strings.Contains(s, "10.244.0.11") || !strings.Contains(s, "default/s10") {
		t.Errorf("after the second start:\n%s", s)
	}
	if n := strings.Count(saved(t), "-A PREROUTING"); n != 1 {
		t.Errorf("%d jumps", n)
	}
	c, err := New(Config{}) // one that never applied anything cleans up just as well
	must(t, err)
	must(t, c.Remove(context.Background(), "INBOARD-"))
	if left := ours(saved(t)); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

// TestSideBySide: two proxies with names of their own do not touch each other, nor what others have.
func TestSideBySide(t *testing.T) {
	needNetns(t)
	must(t, exec.Command("sh", "-c", "iptables -t nat -N KUBE-SERVICES; iptables -t nat -A PREROUTING -j KUBE-SERVICES").Run())
	t.Cleanup(func() {
		must(t, exec.Command("sh", "-c", "iptables -t nat -D PREROUTING -j KUBE-SERVICES; iptables -t nat -X KUBE-SERVICES").Run())
	})
	a, b := newApplier(t), newApplier(t)
	apply(t, a, podsKnown, port(10, "", 10))
	alone := saved(t)
	cfg := podsKnown
	cfg.Instance = "OTHER"
	apply(t, b, cfg, port(10, "", 11))
	must(t, b.Remove(context.Background(), "OTHER-"))
	if s := saved(t); s != alone {
		t.Errorf("after the other went:\n%s\nwant\n%s", s, alone)
	}
}

// TestSysctls: the kernel's settings are changed for as long as they are needed.
func TestSysctls(t *testing.T) {
	needNetns(t)
	const name = "/proc/sys/net/ipv4/conf/all/route_localnet"
	value := func() string { b, _ := os.ReadFile(name); return strings.TrimSpace(string(b)) }
	before := value()
	a := newApplier(t)
	web := port(10, "", 10)
	web.NodePort = 30080
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { apply(t, a, podsKnown, port(10, "", 10)) }, before},
		{func() { apply(t, a, podsKnown, web) }, "1"},
		{func() { apply(t, a, podsKnown, port(10, "", 10)) }, before},
		{func() { apply(t, a, podsKnown, web) }, "1"},
		{func() { must(t, a.Remove(context.Background(), "INBOARD-")) }, before},
	} {
		if step.do(); value() != step.want {
			t.Errorf("route_localnet is %s, want %s", value(), step.want)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	_, err := lookPath("no-such-iptables")
	if !errors.Is(err, proxy.ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install iptables") {
		t.Errorf("error %v", err)
	}
}

// TestNotPermitted runs New as an ordinary user.
func TestNotPermitted(t *testing.T) {
	if os.Getenv("INBOARD_TEST_NEW") != "" {
		_, err := New(Config{})
		fmt.Println(errors.Is(err, proxy.ErrNotPermitted), err)
		return
	}
	if os.Geteuid() != 0 {
		_, err := New(Config{})
		if !errors.Is(err, proxy.ErrNotPermitted) && !errors.Is(err, proxy.ErrNotInstalled) {
			t.Errorf("error %v", err)
		}
		return
	}
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir, err := os.MkdirTemp("", "inboard") // t.TempDir is closed to other users
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "test"), self, 0o755))
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run=^TestNotPermitted$")
	cmd.Dir = dir
	cmd.Env = nstest.Outside(append(os.Environ(), "INBOARD_TEST_NEW=1"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true ") || !strings.Contains(string(out), "run as root") {
		t.Errorf("%v: %s", err, out)
	}
}
