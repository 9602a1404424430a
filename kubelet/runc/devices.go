package runc

import (
	"fmt"

	hostdevices "github.com/moby/sys/devices"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
)

// setDevices gives a container the devices that every container has, or, when it is privileged,
// those of the node.
func setDevices(cfg *configs.Config, privileged bool) error {
	if privileged {
		all, err := hostdevices.HostDevices()
		if err != nil {
			return fmt.Errorf("list the node's devices: %w", err)
		}
		cfg.Devices = all
		cfg.Cgroups.Devices = []*devices.Rule{rule(devices.WildcardDevice, devices.Wildcard, devices.Wildcard, "rwm")}
		return nil
	}
	// A node of any device may be made, but only the ones below can be opened.
	cfg.Cgroups.Devices = []*devices.Rule{
		rule(devices.CharDevice, devices.Wildcard, devices.Wildcard, "m"),
		rule(devices.BlockDevice, devices.Wildcard, devices.Wildcard, "m"),
		rule(devices.CharDevice, 136, devices.Wildcard, "rwm"), // /dev/pts/*
		rule(devices.CharDevice, 5, 2, "rwm"),                  // /dev/ptmx
	}
	for _, d := range []struct {
		path         string
		major, minor int64
	}{
		{"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7},
		{"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
	} {
		r := rule(devices.CharDevice, d.major, d.minor, "rwm")
		cfg.Devices = append(cfg.Devices, &devices.Device{Rule: *r, Path: d.path, FileMode: 0o666})
		cfg.Cgroups.Devices = append(cfg.Cgroups.Devices, r)
	}
	return nil
}

func rule(kind devices.Type, major, minor int64, permissions string) *devices.Rule {
	return &devices.Rule{Type: kind, Major: major, Minor: minor, Permissions: devices.Permissions(permissions), Allow: true}
}
