package runc

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"strings"

	"github.com/inboard/inboard/kubelet/image"
)

// Config describes a Runtime.
type Config struct {
	// Dir holds the images and the state. Empty means a temporary directory that Close removes.
	// Its file system must be one that overlayfs can write to (ext4, xfs, btrfs, tmpfs).
	Dir string
	// Images describes the store of images; its Dir is "images" in Dir by default.
	Images image.Config
	// CgroupParent is the cgroup below which all others are made. An absolute path counts from
	// the root of the hierarchy. A relative one counts from the program's own cgroup (cgroup v1)
	// or from that one's parent (v2, where a cgroup that has processes cannot have limited
	// children). Default: the program's own cgroup (v1) or the root (v2).
	CgroupParent string
	// Bridge, PodCIDR, MTU and NoMasquerade are those of network.Config.
	Bridge       string
	PodCIDR      netip.Prefix
	MTU          int
	NoMasquerade bool
	// Logger gets what is worth knowing; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Images.Logger == nil {
		c.Images.Logger = c.Logger
	}
	return c
}

func (c Config) validate() error {
	if p := c.CgroupParent; p != "" && (path.Clean(p) != p || strings.HasPrefix(p, "..")) {
		return fmt.Errorf("runc: Config.CgroupParent: %q is not a clean path", p)
	}
	return nil
}
