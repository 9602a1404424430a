package iptables

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	goiptables "github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/proxy"
)

const (
	// lockSeconds is how long to wait for another program that changes rules.
	lockSeconds = 5
	// restoreTimeout bounds one run of iptables-restore.
	restoreTimeout = 60 * time.Second
	// nftBatch is how many chains one run of iptables-restore gets, when it speaks nf_tables: the
	// time it takes then grows with the square of their number.
	nftBatch = 500
)

// sbin are directories that may be missing from the PATH of a user's shell.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// tools are the programs for one family.
type tools struct {
	ipt     commands
	restore string
	// batch is how many chains to give to one run of restore, 0 for any number.
	batch int
}

// find looks for the programs of a family.
func find(f proxy.Family) (*tools, error) {
	name, proto := "iptables", goiptables.ProtocolIPv4
	if f == proxy.IPv6 {
		name, proto = "ip6tables", goiptables.ProtocolIPv6
	}
	command, err := lookPath(name)
	if err != nil {
		return nil, err
	}
	restore, err := lookPath(name + "-restore")
	if err != nil {
		return nil, err
	}
	ipt, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Timeout(lockSeconds), goiptables.Path(command))
	if err != nil {
		return nil, fmt.Errorf("%s does not work: %w", command, err)
	}
	t := &tools{ipt: commands{ipt}, restore: restore}
	var version []byte
	err = again(func() (err error) { version, err = exec.Command(command, "--version").Output(); return err })
	if err == nil && strings.Contains(string(version), "nf_tables") {
		t.batch = nftBatch
	}
	return t, nil
}

func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf(`%s is %w: install the package "iptables" (Debian, Ubuntu: apt-get install iptables; `+
		`Fedora: dnf install iptables-nft; Alpine: apk add iptables)`, name, proxy.ErrNotInstalled)
}

// permitted tells in an error that this process can't change rules.
func permitted() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities of this process: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return fmt.Errorf("changing iptables rules is %w to user %d: run as root, or with the capability CAP_NET_ADMIN",
			proxy.ErrNotPermitted, os.Geteuid())
	}
	return nil
}

// run feeds text to iptables-restore. It is not broken off when ctx ends, so that it stays known
// what the kernel holds; it takes milliseconds.
func (t *tools) run(ctx context.Context, text []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	var stderr bytes.Buffer
	err := again(func() error {
		stderr.Reset()
		cmd := exec.CommandContext(ctx, t.restore, "--noflush", "-w", fmt.Sprint(lockSeconds))
		cmd.Stdin, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(text), &stderr, time.Second
		// Ctrl-C in a terminal goes to the whole process group; the rules are still to be removed then.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd.Run()
	})
	if err != nil {
		return restoreError(filepath.Base(t.restore), err, stderr.String(), text)
	}
	return nil
}
