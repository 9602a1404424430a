package runc_test

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/kubelet/runc"
)

// TestCloseLeavesNothing closes a runtime full of containers that do not want to stop.
func TestCloseLeavesNothing(t *testing.T) {
	needRoot(t)
	before := trace(t)
	r, err := runc.Open(runc.Config{CgroupParent: cgroupParent()})
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(r, 6); err != nil {
		t.Fatal(err)
	}
	if len(processes()) < 12 {
		t.Fatalf("only %d processes", len(processes()))
	}
	began := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed 12 containers in %s", time.Since(began).Round(time.Millisecond))
	if after := trace(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestKilledProgram kills a program that embeds the runtime. Its containers die with it; what the
// kernel keeps is removed by the next one, whether the directory was given or temporary, and also by
// one that works in another directory.
func TestKilledProgram(t *testing.T) {
	needRoot(t)
	given := t.TempDir()
	for name, dirs := range map[string][2]string{
		"given directory": {given, given}, "temporary directory": {"", ""},
		"another directory": {t.TempDir(), t.TempDir()}, "first given, then temporary": {t.TempDir(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := trace(t)
			kill := startProgram(t, dirs[0])
			if n := len(processes()); n < 8 {
				t.Fatalf("only %d processes", n)
			}
			kill()
			for deadline := time.Now().Add(5 * time.Second); len(processes()) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("containers outlive the program: %v", processes())
				}
			}
			r, err := runc.Open(runc.Config{Dir: dirs[1], CgroupParent: cgroupParent()})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if after := trace(t); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func startProgram(t *testing.T, dir string) (kill func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asProgram+"=1", programDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("the program says %q, %v", line, err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// TestInUse opens a directory twice.
func TestInUse(t *testing.T) {
	r := open(t, runc.Config{Dir: t.TempDir()})
	_ = r
	dir := t.TempDir()
	open(t, runc.Config{Dir: dir, PodCIDR: otherCIDR})
	_, err := runc.Open(runc.Config{Dir: dir, CgroupParent: cgroupParent()})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second Open: %v", err)
	}
	_, err = runc.Open(runc.Config{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("Open with the same pod CIDR: %v", err)
	}
}

// TestCgroup2 runs tests again with the unified hierarchy, on a machine with the old one: there it
// has no controllers, so that limits cannot be tried, but everything else can.
func TestCgroup2(t *testing.T) {
	needRoot(t)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		t.Skip("this machine has the unified hierarchy: all tests use it already")
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run",
		"^(TestContainerRunsAndExits|TestStop|TestExec|TestConfinement|TestCloseLeavesNothing|TestKilledProgram)$")
	cmd.Env = nstest.Outside(append(os.Environ(), cgroup2+"=1"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n--- PASS") < 6 {
		t.Errorf("%v:\n%s", err, out)
	}
}
