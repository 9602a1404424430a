//go:build linux

// Package nstest moves tests into namespaces of their own, so that no link, rule or mount of theirs touches the
// machine's.
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// inside is set in the environment of the copy of the test binary that runs in the namespaces.
const inside = "INBOARD_TEST_NAMESPACES"

// Enter is for the beginning of TestMain. As root it runs this test binary again in a new network and mount namespace,
// with the variables of env ("NAME=value") in its environment, and exits as that run does. In that run it brings the
// loopback link up and returns, and it returns without root, where Inside is false.
func Enter(env ...string) {
	var err error
	switch {
	case Inside():
		err = prepare()
	case os.Geteuid() == 0:
		err = again(env)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run tests in namespaces of their own:", err)
		os.Exit(1)
	}
}

// Inside tells whether this process runs in the namespaces, with root's rights there.
func Inside() bool { return os.Getenv(inside) != "" }

// Need skips a test outside of the namespaces.
func Need(t testing.TB) {
	t.Helper()
	if !Inside() {
		t.Skip("needs root: it runs in network and mount namespaces of its own")
	}
}

// Outside returns an environment for a program whose tests shall move into namespaces anew, or not at all.
func Outside(env []string) []string { return append(env, inside+"=") }

// again runs this binary in new namespaces, and comes back only if it could not.
func again(env []string) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append(os.Environ(), inside+"=1"), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death signal is tied to the thread
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		os.Exit(code)
	}
	return err // a signal
}

func prepare() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to the namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
