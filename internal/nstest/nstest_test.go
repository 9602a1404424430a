//go:build linux

package nstest_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/internal/nstest"
)

func TestMain(m *testing.M) {
	host, _ := os.Readlink("/proc/self/ns/net")
	nstest.Enter("INBOARD_TEST_HOST=" + host)
	goleak.VerifyTestMain(m)
}

// TestAlone: the only link is loopback, which works, and mounts stay here.
func TestAlone(t *testing.T) {
	nstest.Need(t)
	if own, _ := os.Readlink("/proc/self/ns/net"); own == os.Getenv("INBOARD_TEST_HOST") {
		t.Fatal("the tests are in the machine's namespace")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	if data, err := os.ReadFile("/proc/1/mountinfo"); err == nil && strings.Contains(string(data), dir) {
		t.Error("a mount reached the machine")
	}
}

// TestExitCode: a failure in the namespaces is the test binary's.
func TestExitCode(t *testing.T) {
	nstest.Need(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFails$")
	cmd.Env = nstest.Outside(append(os.Environ(), "INBOARD_TEST_FAIL=1"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "as it should") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestFails(t *testing.T) {
	if os.Getenv("INBOARD_TEST_FAIL") != "" {
		t.Fatal("as it should")
	}
}
