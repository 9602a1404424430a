package iptables

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/inboard/inboard/proxy"
)

// TestSettingsOutliveAKill abandons an Applier, as SIGKILL does: the next one knows what a setting was
// before the first, also when it has no use for it itself.
func TestSettingsOutliveAKill(t *testing.T) {
	needNetns(t)
	const file = "/proc/sys/net/ipv4/conf/all/route_localnet"
	sysctl(t, "net/ipv4/conf/all/route_localnet", "0")
	ctx := context.Background()
	with := port(1, "", 2, 3)
	with.NodePort = 30080
	var prefix string
	for _, ports := range [][]proxy.ServicePort{{with}, {with}, {with}, nil} {
		rules, err := proxy.Render(podsKnown, ports)
		must(t, err)
		prefix = rules.Prefix
		a, err := New(Config{})
		must(t, err)
		must(t, a.Apply(ctx, rules, false))
		if b, _ := os.ReadFile(file); strings.TrimSpace(string(b)) != map[bool]string{true: "1", false: "0"}[ports != nil] {
			t.Errorf("with %d service ports it is %s", len(ports), b)
		}
		must(t, a.Apply(ctx, rules, true))
	}
	rules, err := proxy.Render(podsKnown, []proxy.ServicePort{with})
	must(t, err)
	first, err := New(Config{})
	must(t, err)
	must(t, first.Apply(ctx, rules, false))
	second, err := New(Config{})
	must(t, err)
	must(t, second.Remove(ctx, prefix))
	if b, _ := os.ReadFile(file); strings.TrimSpace(string(b)) != "0" {
		t.Errorf("afterwards it is %s", b)
	}
	if left := ours(saved(t)); left != "" {
		t.Errorf("left after Remove:\n%s", left)
	}
}
