//go:build seccomp

package runc

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// seccompProfile returns the filter of system calls that a container asks for; profiles in files
// are not supported.
func seccompProfile(sec kubelet.SecurityContext) (*configs.Seccomp, error) {
	switch {
	case sec.Privileged, sec.Seccomp == "", sec.Seccomp == "Unconfined":
		return nil, nil
	case sec.Seccomp != "RuntimeDefault":
		return nil, fmt.Errorf("the seccomp profile %q is a file; only RuntimeDefault and Unconfined are supported", sec.Seccomp)
	}
	caps, err := containerCaps(sec)
	if err != nil {
		return nil, err
	}
	return defaultSeccomp(caps.Bounding), nil
}

// defaultSeccomp allows what containers' programs commonly use, and with a capability also the
// calls that it is for. Anything else fails with EPERM, as under Docker and containerd.
func defaultSeccomp(caps []string) *configs.Seccomp {
	eperm, enosys := uint(unix.EPERM), uint(unix.ENOSYS)
	p := &configs.Seccomp{DefaultAction: configs.Errno, DefaultErrnoRet: &eperm, Architectures: architectures()}
	allow := func(names []string, args ...*configs.Arg) {
		for _, n := range names {
			p.Syscalls = append(p.Syscalls, &configs.Syscall{Name: n, Action: configs.Allow, Args: args})
		}
	}
	allow(commonSyscalls())
	for _, persona := range []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff} { // PER_LINUX and its variants
		allow([]string{"personality"}, &configs.Arg{Index: 0, Value: persona, Op: configs.EqualTo})
	}
	allow([]string{"socket"}, &configs.Arg{Index: 0, Value: unix.AF_VSOCK, Op: configs.NotEqualTo})
	for name, calls := range capabilitySyscalls() {
		if slices.Contains(caps, name) {
			allow(calls)
		}
	}
	if !slices.Contains(caps, "CAP_SYS_ADMIN") {
		const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
			unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
		allow([]string{"clone"}, &configs.Arg{Index: 0, Value: namespaces, ValueTwo: 0, Op: configs.MaskEqualTo})
		// Its flags are in memory, where a filter cannot look; libc falls back to clone.
		p.Syscalls = append(p.Syscalls, &configs.Syscall{Name: "clone3", Action: configs.Errno, ErrnoRet: &enosys})
	}
	return p
}
