package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/inboard/inboard/apiserver/client"
)

// The defaults of Config.
const (
	defaultMinSyncPeriod  = 10 * time.Millisecond
	defaultCheckPeriod    = 10 * time.Second
	defaultFullSyncPeriod = time.Hour
)

// Config says what a Proxy does.
type Config struct {
	// Client reads Services and EndpointSlices.
	Client client.Interface
	// Applier brings the rules into effect.
	Applier Applier
	// NodeName is the node that this proxy works for; endpoints on it are local. Empty means that
	// none are.
	NodeName string
	// Families are the address families to route; none means IPv4.
	Families []Family

	// Instance, ClusterCIDRs, ServiceCIDRs, NodePortAddresses, MasqueradeAll and MasqueradeBit are as in
	// RenderConfig.
	Instance          string
	ClusterCIDRs      []netip.Prefix
	ServiceCIDRs      []netip.Prefix
	NodePortAddresses []netip.Prefix
	MasqueradeAll     bool
	MasqueradeBit     int

	// MinSyncPeriod is the least time between two changes of the rules; 0 means 10 ms. A change
	// after a quiet time is applied at once.
	MinSyncPeriod time.Duration
	// CheckPeriod is how often the Proxy looks whether somebody flushed its rules; 0 means 10 s.
	CheckPeriod time.Duration
	// FullSyncPeriod is how often all rules are written anew; 0 means 1 h.
	FullSyncPeriod time.Duration
	// KeepRules leaves the rules in place when Run returns, so that connections go on until
	// another Proxy takes over.
	KeepRules bool
	// OnSync, when not nil, is told of each attempt to bring the rules into effect.
	OnSync func(Sync)
	// Logger receives what happens; nil discards.
	Logger *slog.Logger
}

// Sync is one attempt to bring the rules of one family into effect.
type Sync struct {
	Family Family
	// Services, Chains and Rules count what should be in effect; Services are service ports.
	Services, Chains, Rules int
	// Full tells that everything was written, not just what changed.
	Full bool
	// Took is the time from the start of the attempt to its end.
	Took time.Duration
	Err  error
}

// prepare returns a copy with defaults filled in.
func (c Config) prepare() (Config, error) {
	c.Families = slices.Clone(c.Families)
	c.ClusterCIDRs = slices.Clone(c.ClusterCIDRs)
	c.ServiceCIDRs = slices.Clone(c.ServiceCIDRs)
	c.NodePortAddresses = slices.Clone(c.NodePortAddresses)
	if len(c.Families) == 0 {
		c.Families = []Family{IPv4}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"MinSyncPeriod", &c.MinSyncPeriod, defaultMinSyncPeriod},
		{"CheckPeriod", &c.CheckPeriod, defaultCheckPeriod},
		{"FullSyncPeriod", &c.FullSyncPeriod, defaultFullSyncPeriod},
	} {
		if *d.v < 0 {
			return c, fmt.Errorf("proxy: Config.%s: %v is negative", d.name, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	switch {
	case c.Client == nil:
		return c, errors.New("proxy: Config.Client is nil")
	case c.Applier == nil:
		return c, errors.New("proxy: Config.Applier is nil: use proxy/iptables, or &proxy.Memory{} in tests")
	case len(slices.Compact(slices.Sorted(slices.Values(c.Families)))) != len(c.Families):
		return c, errors.New("proxy: Config.Families has one twice")
	}
	return c, nil
}

func (c *Config) render(f Family) RenderConfig {
	return RenderConfig{
		Family: f, Instance: c.Instance, ClusterCIDRs: c.ClusterCIDRs, ServiceCIDRs: c.ServiceCIDRs, NodePortAddresses: c.NodePortAddresses,
		MasqueradeAll: c.MasqueradeAll, MasqueradeBit: c.MasqueradeBit,
	}
}
