package runc

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/capabilities"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// defaultCaps are what Docker and containerd give to a container.
func defaultCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// containerCaps applies a pod's capabilities: "ALL" first, then what is added, then what is dropped.
func containerCaps(sec kubelet.SecurityContext) (*configs.Capabilities, error) {
	known := capabilities.KnownCapabilities()
	caps := defaultCaps()
	if sec.Privileged {
		caps = supportedCaps(known)
	}
	add, err := capNames(sec.CapAdd, known)
	if err != nil {
		return nil, err
	}
	drop, err := capNames(sec.CapDrop, known)
	if err != nil {
		return nil, err
	}
	switch {
	case slices.Contains(add, "ALL"):
		caps = supportedCaps(known)
	case slices.Contains(drop, "ALL"):
		caps = nil
	}
	for _, c := range add {
		if c != "ALL" && !slices.Contains(caps, c) {
			caps = append(caps, c)
		}
	}
	caps = slices.DeleteFunc(caps, func(c string) bool { return slices.Contains(drop, c) })
	return &configs.Capabilities{Bounding: caps, Permitted: caps, Effective: caps}, nil
}

func capNames(names, known []string) ([]string, error) {
	var out []string
	for _, n := range names {
		n = strings.ToUpper(n)
		if n != "ALL" && !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		if n != "ALL" && !slices.Contains(known, n) {
			return nil, fmt.Errorf("unknown capability %q", n)
		}
		out = append(out, n)
	}
	return out, nil
}

// supportedCaps are those that this process itself may hand on.
func supportedCaps(known []string) []string {
	return slices.DeleteFunc(slices.Clone(known), func(c string) bool { return !boundingHas(slices.Index(known, c)) })
}

func boundingHas(number int) bool {
	v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(number), 0, 0, 0)
	return err == nil && v == 1
}

// oomScoreAdj keeps what this process may not lower: without CAP_SYS_RESOURCE the kernel refuses
// a value below the process's own.
func oomScoreAdj(want int) *int {
	var hdr = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return &want
	}
	if s, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		if own, err := strconv.Atoi(strings.TrimSpace(string(s))); err == nil {
			want = max(want, own)
		}
	}
	return &want
}
