package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/proxy"
)

// service creates a Service, and returns it with its address.
func service(t testing.TB, c client.Interface, name string, proto corev1.Protocol) *corev1.Service {
	t.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "p", Port: 80, Protocol: proto}}
	svc, err := client.For[*corev1.Service](c).Create(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// endpoints creates or replaces the one slice of a Service.
func endpoints(t testing.TB, c client.Interface, name string, proto corev1.Protocol, addresses ...string) {
	t.Helper()
	port, portName := int32(8080), "p"
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &proto}},
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	slices := client.For[*discoveryv1.EndpointSlice](c)
	_, err := slices.Create(t.Context(), s)
	if err != nil {
		_, err = slices.Update(t.Context(), s)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a proxy until the returned function is called, which returns what Run did.
func run(t testing.TB, cfg proxy.Config) (p *proxy.Proxy, stop func() error) {
	t.Helper()
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = func() error { cancel(); return <-done }
	return p, stop
}

// eventually waits until the rules have, or with "!" in front do not have, each of the texts.
func eventually(t testing.TB, m *proxy.Memory, texts ...string) {
	t.Helper()
	timeout := time.After(30 * time.Second) // well above CheckPeriod, also where time is not real
	for {
		rules, changed := m.Rules(proxy.IPv4)
		if missing := unmet(rules, texts); missing == "" {
			return
		} else {
			select {
			case <-changed:
			case <-timeout:
				t.Fatalf("the rules never met %q", missing)
			}
		}
	}
}

func unmet(rules *proxy.Ruleset, texts []string) string {
	if rules == nil {
		return "any rules at all"
	}
	all := rules.Text()
	for _, want := range texts {
		text, not := strings.CutPrefix(want, "!")
		if strings.Contains(all, text) == not {
			return want
		}
	}
	return ""
}

// TestServiceLife follows a Service from its creation to its end.
func TestServiceLife(t *testing.T) {
	api, m := apitest.Open(t).Admin(), &proxy.Memory{}
	endpoints(t, api, "early", "TCP", "10.244.0.1")
	early := service(t, api, "early", "TCP")
	p, stop := run(t, proxy.Config{Client: api, Applier: m})
	<-p.Ready()
	eventually(t, m, "-d "+early.Spec.ClusterIP+"/32", "10.244.0.1:8080") // ready means that it is all there

	web := service(t, api, "web", "TCP")
	eventually(t, m, web.Spec.ClusterIP, "default/web:p has no endpoints")
	endpoints(t, api, "web", "TCP", "10.244.0.5", "10.244.0.6")
	eventually(t, m, "!has no endpoints", "--to-destination 10.244.0.5:8080", "--to-destination 10.244.0.6:8080")
	endpoints(t, api, "web", "TCP", "10.244.0.6")
	eventually(t, m, "!10.244.0.5:8080", "10.244.0.6:8080")
	if err := client.For[*corev1.Service](api).Delete(t.Context(), "default", "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, m, "!default/web", "default/early")

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if rules, _ := m.Rules(proxy.IPv4); rules != nil {
		t.Fatal("rules are left after Run")
	}
}

// TestUDPFlowsAreForgotten: the flows of UDP services are looked at when endpoints change, and only
// then.
func TestUDPFlowsAreForgotten(t *testing.T) {
	api, m := apitest.Open(t).Admin(), &proxy.Memory{}
	p, stop := run(t, proxy.Config{Client: api, Applier: m})
	<-p.Ready()
	web, dns := service(t, api, "web", "TCP"), service(t, api, "dns", "UDP")
	endpoints(t, api, "web", "TCP", "10.244.0.1")
	endpoints(t, api, "dns", "UDP", "10.244.0.5")
	eventually(t, m, "10.244.0.1:8080", "10.244.0.5:8080")
	if err := client.For[*corev1.Service](api).Delete(t.Context(), "default", "dns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, m, "!default/dns")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(dns.Spec.ClusterIP + ":80")
	var story []string
	for _, f := range m.Forgotten() {
		if _, is := f.Services[netip.MustParseAddrPort(web.Spec.ClusterIP+":80")]; is {
			t.Error("flows of a TCP service were looked at")
		}
		if to, is := f.Services[addr]; is {
			story = append(story, fmt.Sprint(to))
		}
	}
	got := strings.Join(story, " ")
	if got != "[] [10.244.0.5:8080] []" && got != "[10.244.0.5:8080] []" {
		t.Errorf("endpoints over time: %s", got)
	}
}

// TestBurstsAreJoined: many changes at once cost few syncs.
func TestBurstsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, m := apitest.Open(t).Admin(), &proxy.Memory{}
		p, stop := run(t, proxy.Config{Client: api, Applier: m, MinSyncPeriod: time.Second})
		<-p.Ready()
		for i := range 200 {
			service(t, api, fmt.Sprintf("s%d", i), "TCP")
			time.Sleep(10 * time.Millisecond) // two seconds in all
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := m.Applied(); n > 6 {
			t.Errorf("%d syncs for two seconds of changes, at most one a second wanted", n)
		}
		if rules, _ := m.Rules(proxy.IPv4); unmet(rules, []string{"default/s0:p", "default/s199:p"}) != "" {
			t.Error("changes were lost")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestQuietChangeIsAppliedAtOnce: after a quiet time nothing waits.
func TestQuietChangeIsAppliedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, m := apitest.Open(t).Admin(), &proxy.Memory{}
		p, stop := run(t, proxy.Config{Client: api, Applier: m, MinSyncPeriod: time.Minute, CheckPeriod: time.Hour})
		<-p.Ready()
		time.Sleep(2 * time.Minute)
		start := time.Now()
		service(t, api, "web", "TCP")
		eventually(t, m, "default/web")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestFlushedRulesComeBack: somebody else flushes the rules; the next look finds out.
func TestFlushedRulesComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, m := apitest.Open(t).Admin(), &proxy.Memory{}
		service(t, api, "web", "TCP")
		var full atomic.Int32
		m.Fail = func(_ *proxy.Ruleset, all bool) error {
			if all {
				full.Add(1)
			}
			return nil
		}
		p, stop := run(t, proxy.Config{Client: api, Applier: m, CheckPeriod: 10 * time.Second})
		<-p.Ready()
		time.Sleep(5 * time.Minute)
		if n := m.Applied(); n != 1 {
			t.Errorf("%d syncs while nothing happened", n)
		}
		m.Flush()
		start := time.Now()
		eventually(t, m, "default/web")
		if waited := time.Since(start); waited > 10*time.Second {
			t.Errorf("it took %v", waited)
		}
		if full.Load() != 2 {
			t.Errorf("%d full writes, want the first and this one", full.Load())
		}
		time.Sleep(2 * time.Hour)
		if n := full.Load(); n < 3 || n > 4 {
			t.Errorf("%d full writes after two hours, want one an hour", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestFailuresAreTriedAgain: with growing pauses, until it works; Ready waits for that.
func TestFailuresAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := apitest.Open(t).Admin()
		var at []time.Time
		m := &proxy.Memory{Fail: func(*proxy.Ruleset, bool) error {
			at = append(at, time.Now())
			switch len(at) {
			case 1:
				return errors.New("another app holds the lock")
			case 2, 3, 4:
				panic("a bug")
			}
			return nil
		}}
		var syncs []proxy.Sync
		p, stop := run(t, proxy.Config{Client: api, Applier: m, OnSync: func(s proxy.Sync) { syncs = append(syncs, s) }})
		time.Sleep(50 * time.Millisecond)
		select {
		case <-p.Ready():
			t.Fatal("ready without rules")
		default:
		}
		<-p.Ready()
		for i, want := range []time.Duration{100, 200, 400, 800} {
			if got := at[i+1].Sub(at[i]); got < want*time.Millisecond || got > want*time.Millisecond+20*time.Millisecond {
				t.Errorf("pause %d: %v, want %d ms", i, got, want)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(syncs) != 5 || syncs[0].Err == nil || !strings.Contains(syncs[1].Err.Error(), "a bug") || syncs[4].Err != nil || !syncs[4].Full {
			t.Errorf("OnSync was told %+v", syncs)
		}
	})
}

// TestStopBeforeTheAPIAnswers: rules of an earlier life are removed even so.
func TestStopBeforeTheAPIAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &proxy.Memory{}
		if err := m.Apply(t.Context(), &proxy.Ruleset{}, true); err != nil {
			t.Fatal(err)
		}
		_, stop := run(t, proxy.Config{Client: deaf{apitest.Open(t).Admin()}, Applier: m})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if rules, _ := m.Rules(proxy.IPv4); rules != nil {
			t.Error("earlier rules are still there")
		}
	})
}

// deaf is an API server that does not answer.
type deaf struct{ client.Interface }

func (deaf) List(ctx context.Context, _ client.Ref, _ metav1.ListOptions) (*client.List, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestKeepRules(t *testing.T) {
	m := &proxy.Memory{}
	p, stop := run(t, proxy.Config{Client: apitest.Open(t).Admin(), Applier: m, KeepRules: true})
	<-p.Ready()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if rules, _ := m.Rules(proxy.IPv4); rules == nil {
		t.Error("the rules are gone")
	}
	if err := p.Run(t.Context()); err == nil {
		t.Error("a second Run was allowed")
	}
}

func TestWrongConfig(t *testing.T) {
	api, m := apitest.Open(t).Admin(), &proxy.Memory{}
	for _, c := range []struct {
		cfg  proxy.Config
		says string
	}{
		{proxy.Config{Applier: m}, "Config.Client"},
		{proxy.Config{Client: api}, "Config.Applier"},
		{proxy.Config{Client: api, Applier: m, MinSyncPeriod: -1}, "Config.MinSyncPeriod"},
		{proxy.Config{Client: api, Applier: m, CheckPeriod: -1}, "Config.CheckPeriod"},
		{proxy.Config{Client: api, Applier: m, Families: []proxy.Family{0, 0}}, "Config.Families"},
		{proxy.Config{Client: api, Applier: m, Families: []proxy.Family{7}}, "Family"},
		{proxy.Config{Client: api, Applier: m, Instance: "x"}, "Instance"},
		{proxy.Config{Client: api, Applier: m, MasqueradeBit: 32}, "MasqueradeBit"},
		{proxy.Config{Client: api, Applier: m, ClusterCIDRs: make([]netip.Prefix, 1)}, "ClusterCIDRs"},
	} {
		if _, err := proxy.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want one about %s", err, c.says)
		}
	}
}
