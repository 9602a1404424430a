//go:build linux

package process

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/inboard/inboard/kubelet/image"
)

// Config describes a Runtime.
type Config struct {
	// Dir holds the images and the state of containers. Empty means a temporary directory that
	// Close removes.
	Dir string
	// Images describes the store of images; its Dir is "images" in Dir by default.
	Images image.Config
	// PodCIDR is the range that pods get their loopback addresses from, within 127.0.0.0/8.
	// Default 127.64.0.0/16.
	PodCIDR netip.Prefix
	// LogMaxSize in bytes and LogMaxFiles bound the log of a container; the defaults are the
	// kubelet's.
	LogMaxSize  int64
	LogMaxFiles int
	// Logger gets what is worth knowing; nil discards.
	Logger *slog.Logger
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func (c Config) withDefaults() Config {
	if !c.PodCIDR.IsValid() {
		c.PodCIDR = netip.MustParsePrefix("127.64.0.0/16")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Images.Logger == nil {
		c.Images.Logger = c.Logger
	}
	return c
}

func (c Config) validate() error {
	if !loopback.Contains(c.PodCIDR.Addr()) || c.PodCIDR.Bits() < loopback.Bits() {
		return fmt.Errorf("process: Config.PodCIDR: %s is not within %s", c.PodCIDR, loopback)
	}
	if c.PodCIDR.Bits() > 30 {
		return fmt.Errorf("process: Config.PodCIDR: %s has no room for a pod; use /30 or larger", c.PodCIDR)
	}
	if c.LogMaxSize < 0 || c.LogMaxFiles < 0 {
		return errors.New("process: Config.LogMaxSize and Config.LogMaxFiles must not be negative")
	}
	return nil
}
