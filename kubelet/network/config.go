package network

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

// Config describes a Network.
type Config struct {
	// Owner tells this network's links and rules from those of others, across restarts of the
	// program: its state directory, for example. Required.
	Owner string
	// Bridge is the bridge's name, at most 15 characters. Empty means the first free one of
	// "inboard0", "inboard1", ...
	Bridge string
	// PodCIDR is the range of the pods' addresses; its first address is the bridge's. IPv4, from
	// /8 to /29. Default: 10.244.0.0/24.
	PodCIDR netip.Prefix
	// MTU is that of the pods' devices, in bytes. Default: 1500.
	MTU int
	// NoMasquerade leaves the pods' source address as it is when they speak to elsewhere.
	// Without masquerading and host ports, iptables is not needed.
	NoMasquerade bool
	// Logger gets what is worth knowing; nil discards.
	Logger *slog.Logger
}

// isLinkName accepts fewer names than the kernel does, which allows all but a few characters.
func isLinkName(s string) bool {
	odd := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
	return odd < 0 && len(s) >= 1 && len(s) <= 15 && s != "." && s != ".."
}

func (c Config) withDefaults() Config {
	if !c.PodCIDR.IsValid() {
		c.PodCIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, 0, 0}), 24)
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	if c.Owner == "" {
		return fmt.Errorf("network: Config.Owner must be set")
	}
	if c.Bridge != "" && !isLinkName(c.Bridge) {
		return fmt.Errorf("network: Config.Bridge: %q is not a name of a link: 1 to 15 letters, digits, '-', '_' or '.'", c.Bridge)
	}
	if !c.PodCIDR.Addr().Is4() || c.PodCIDR.Bits() < 8 || c.PodCIDR.Bits() > 29 {
		return fmt.Errorf("network: Config.PodCIDR: %s is not an IPv4 range from /8 to /29", c.PodCIDR)
	}
	if c.PodCIDR != c.PodCIDR.Masked() {
		return fmt.Errorf("network: Config.PodCIDR: %s has host bits set; did you mean %s?", c.PodCIDR, c.PodCIDR.Masked())
	}
	if c.MTU < 576 || c.MTU > 65535 {
		return fmt.Errorf("network: Config.MTU: %d is not from 576 to 65535", c.MTU)
	}
	return nil
}
