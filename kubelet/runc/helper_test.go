package runc_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}

// program is a program that embeds the runtime, for tests that kill it.
func program(dir string) int {
	r, err := runc.Open(runc.Config{Dir: dir, CgroupParent: cgroupParent()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := fill(r, 4); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	select {}
}

// fill runs pods with two containers each.
func fill(r *runc.Runtime, pods int) error {
	ctx := context.Background()
	if err := addAppTo(r); err != nil {
		return err
	}
	for i := range pods {
		cfg := kubelet.SandboxConfig{UID: fmt.Sprint("fill-", i), Name: fmt.Sprint(i), Hostname: "h", HostPID: i == 1}
		if i == 0 {
			cfg.HostPorts = []kubelet.PortMapping{{Protocol: "UDP", HostPort: 5353, ContainerPort: 53}}
		}
		sb, err := r.RunSandbox(ctx, cfg)
		if err != nil {
			return err
		}
		for range 2 {
			id, err := r.CreateContainer(ctx, sb.ID, kubelet.ContainerConfig{Name: "c", Image: appImage, Args: []string{"stubborn"}})
			if err != nil {
				return err
			}
			if err := r.StartContainer(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// trace is all that a runtime could leave on a machine, as text.
func trace(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		fmt.Fprintln(&b, "mount", f[4], f[3])
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		fmt.Fprintln(&b, "link", l.Attrs().Name)
	}
	for _, table := range []string{"nat", "filter"} {
		rules, err := exec.Command("iptables-save", "-t", table).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(rules)) {
			if strings.Contains(line, "INBPOD-") {
				fmt.Fprint(&b, "rule ", line)
			}
		}
	}
	forward, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	fmt.Fprintf(&b, "forward %s", forward)
	for _, p := range processes() {
		fmt.Fprintln(&b, "process", p)
	}
	for _, dir := range cgroupDirs() {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && p != dir {
				fmt.Fprintln(&b, "cgroup", p)
			}
			return nil
		})
	}
	temps, _ := filepath.Glob(filepath.Join(os.TempDir(), "inboard-*"))
	fmt.Fprintln(&b, "temp", temps)
	return b.String()
}

// cgroupDirs are where the tests' cgroups begin.
func cgroupDirs() []string {
	var out []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == cgroupParent() {
			out = append(out, p)
			return fs.SkipDir
		}
		return nil
	})
	return out
}

// processes are those in cgroups of this package, zombies not counted.
func processes() []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		cgroup, _ := os.ReadFile(p + "/cgroup")
		stat, _ := os.ReadFile(p + "/stat")
		if strings.Contains(string(cgroup), "/"+cgroupParent()+"/") && !strings.Contains(string(stat), ") Z ") {
			out = append(out, p)
		}
	}
	return out
}

var otherCIDR = netip.MustParsePrefix("10.245.0.0/24")
