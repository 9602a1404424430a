package iptables

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

// inside tells the test binary that it runs in a network namespace of its own.
const inside = "INBOARD_TEST_IN_OWN_NETNS"

// TestMain runs all tests in a new network namespace, so that no rule or link of theirs can touch
// the machine's.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(inside) != "":
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the network namespace:", err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m)
	case os.Geteuid() != 0:
		goleak.VerifyTestMain(m) // those that need root skip
	default:
		os.Exit(reexec())
	}
}

func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "start the tests in a network namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// needNetns skips a test that can't have a network namespace of its own.
func needNetns(t testing.TB) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root: it changes links and rules in a network namespace of its own")
	}
	if _, err := lookPath("iptables-restore"); err != nil {
		t.Skip("needs iptables:", err)
	}
}
