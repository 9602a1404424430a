package runc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

func TestContainerRunsAndExits(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	c := waitExit(t, r, sb, start(t, r, sb, nil, "print", "hello", "world"))
	if c.ExitCode != 0 || c.Reason != "Completed" || c.StartedAt.IsZero() || c.FinishedAt.Before(c.StartedAt) {
		t.Errorf("status = %+v", c)
	}
	if got := logOf(t, c, "stdout"); got != "hello world\n" {
		t.Errorf("stdout = %q", got)
	}
	if got := logOf(t, c, "stderr"); got != "to stderr\n" {
		t.Errorf("stderr = %q", got)
	}
	if c := waitExit(t, r, sb, start(t, r, sb, nil, "exit", "7")); c.ExitCode != 7 || c.Reason != "Error" || c.Signal != 0 {
		t.Errorf("status = %+v", c)
	}
}

func TestOverEaterIsOOMKilled(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	id := start(t, r, sb, func(c *kubelet.ContainerConfig) {
		c.Resources = kubelet.Resources{MemoryLimit: 48 << 20, PidsLimit: 100, CPUShares: 102, CPUQuota: 50000, CPUPeriod: 100000, OOMScoreAdj: 900}
	}, "eat")
	c := waitExit(t, r, sb, id)
	if c.Reason != "OOMKilled" || c.ExitCode != 137 || c.Signal != 9 {
		t.Errorf("status = %+v", c)
	}
}

func TestStop(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	ctx := context.Background()
	polite := start(t, r, sb, nil, "wait")
	waitLog(t, status(t, r, sb.ID, polite), "waiting\n")
	if err := r.StopContainer(ctx, polite, time.Minute); err != nil {
		t.Fatal(err)
	}
	c := status(t, r, sb.ID, polite)
	if c.State != kubelet.ContainerExited || c.ExitCode != 0 || logOf(t, c, "stdout") != "waiting\ngot terminated\n" {
		t.Errorf("polite: %+v, said %q", c, logOf(t, c, "stdout"))
	}
	stubborn := start(t, r, sb, nil, "stubborn")
	waitLog(t, status(t, r, sb.ID, stubborn), "stubborn\n")
	if err := r.StopContainer(ctx, stubborn, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if c := status(t, r, sb.ID, stubborn); c.ExitCode != 137 || c.Signal != 9 || c.Reason != "Error" {
		t.Errorf("stubborn: %+v", c)
	}
	interrupted := start(t, r, sb, func(c *kubelet.ContainerConfig) { c.StopSignal = "SIGINT" }, "wait")
	waitLog(t, status(t, r, sb.ID, interrupted), "waiting\n")
	if err := r.StopContainer(ctx, interrupted, time.Minute); err != nil {
		t.Fatal(err)
	}
	if c := status(t, r, sb.ID, interrupted); logOf(t, c, "stdout") != "waiting\ngot interrupt\n" {
		t.Errorf("said %q", logOf(t, c, "stdout"))
	}
	for range 2 { // what is stopped or gone is no error
		if err := errors.Join(r.StopContainer(ctx, polite, 0), r.RemoveContainer(ctx, polite), r.StopSandbox(ctx, sb.ID), r.RemoveSandbox(ctx, sb.ID)); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Sandbox(ctx, sb.ID); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("Sandbox after its removal: %v", err)
	}
}

func waitLog(t testing.TB, c kubelet.Container, want string) {
	t.Helper()
	for range 2000 {
		if data, err := os.ReadFile(c.LogPath); err == nil && len(data) > 0 && strings.Contains(logOf(t, c, "stdout"), want) {
			return
		}
		time.Sleep(5 * time.Millisecond) // the log is a file: there is no event to wait for
	}
	t.Fatalf("%q does not appear in the log: %q", want, logOf(t, c, "stdout"))
}

func TestProcessOfContainer(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	uid, gid := int64(2000), int64(3000)
	for _, tc := range []struct {
		name   string
		change func(*kubelet.ContainerConfig)
		args   []string
		want   string
	}{
		{"root in its own namespaces", nil, []string{"id"}, "0 0 [0] / pod 1\n"},
		{"a user by number is looked up", func(c *kubelet.ContainerConfig) { u := int64(1000); c.Security.RunAsUser = &u },
			[]string{"id"}, "1000 1001 [50 1001] / pod 1\n"},
		{"user, group, groups, directory", func(c *kubelet.ContainerConfig) {
			c.Security.RunAsUser, c.Security.RunAsGroup = &uid, &gid
			c.Security.SupplementalGroups = []int64{5, 6}
			c.WorkingDir = "/work/here"
		}, []string{"id"}, "2000 3000 [5 6 3000] /work/here pod 1\n"},
		{"environment", func(c *kubelet.ContainerConfig) {
			c.Env = []kubelet.EnvVar{{Name: "FROM", Value: "pod"}, {Name: "A", Value: "b=c"}}
		}, []string{"env"}, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=pod\nFROM=pod\nA=b=c\nHOME=/root\n"},
		{"a long line", nil, []string{"long", "40000"}, strings.Repeat("x", 16384) + "\n" + strings.Repeat("x", 16384) + "\n" + strings.Repeat("x", 7232) + "\n"},
		{"devices", nil, []string{"ls", "/dev"}, "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"},
		{"host name", nil, []string{"cat", "/etc/hostname"}, "pod\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := waitExit(t, r, sb, start(t, r, sb, tc.change, tc.args...))
			if got := logOf(t, c, "stdout"); strings.Replace(got, "core\n", "", 1) != tc.want || c.ExitCode != 0 {
				t.Errorf("exit code %d, said %q, want %q; stderr %q", c.ExitCode, got, tc.want, logOf(t, c, "stderr"))
			}
		})
	}
}

func TestConfinement(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "f"), []byte("from the node"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*kubelet.ContainerConfig)
		args   []string
		code   int
		stderr string
	}{
		{"writes to its own root", nil, []string{"write", "/new"}, 0, ""},
		{"read-only root", func(c *kubelet.ContainerConfig) { c.Security.ReadOnlyRootFS = true }, []string{"write", "/new"}, 1, "read-only file system"},
		{"volume", func(c *kubelet.ContainerConfig) {
			c.Mounts = []kubelet.Mount{{HostPath: host, ContainerPath: "/data"}}
		}, []string{"write", "/data/g"}, 0, ""},
		{"read-only volume", func(c *kubelet.ContainerConfig) {
			c.Mounts = []kubelet.Mount{{HostPath: host, ContainerPath: "/data", ReadOnly: true}}
		}, []string{"write", "/data/h"}, 1, "read-only file system"},
		{"the kernel's settings", nil, []string{"write", "/proc/sys/kernel/hostname"}, 1, "read-only file system"},
		{"no capability to write as another", func(c *kubelet.ContainerConfig) {
			u := int64(1000)
			c.Security.RunAsUser = &u
		}, []string{"write", "/etc/passwd"}, 1, "permission denied"},
		{"masked file", nil, []string{"cat", "/proc/timer_list"}, 0, ""},
		{"masked directory", nil, []string{"cat", "/sys/firmware/acpi"}, 1, "no such file"},
		{"the node's devices", nil, []string{"cat", "/dev/kmsg"}, 1, "no such file"},
		{"the node's devices, privileged", func(c *kubelet.ContainerConfig) { c.Security.Privileged = true }, []string{"stat", "/dev/kmsg"}, 0, ""},
		{"a volume that is not there yet", func(c *kubelet.ContainerConfig) {
			c.Mounts = []kubelet.Mount{{HostPath: filepath.Join(host, "new", "dir"), ContainerPath: "/data"}}
		}, []string{"write", "/data/x"}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := waitExit(t, r, sb, start(t, r, sb, tc.change, tc.args...))
			if c.ExitCode != tc.code || !strings.Contains(logOf(t, c, "stderr"), tc.stderr) {
				t.Errorf("exit code %d, stderr %q", c.ExitCode, logOf(t, c, "stderr"))
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	ctx := context.Background()
	for _, tty := range []bool{false, true} {
		id, err := r.CreateContainer(ctx, sb.ID, kubelet.ContainerConfig{Name: "main", Image: appImage, Command: []string{"no-such-program"}, TTY: tty, Stdin: tty})
		if err != nil {
			t.Fatal(err)
		}
		err = r.StartContainer(ctx, id)
		if err == nil || !strings.Contains(err.Error(), "executable file not found") {
			t.Errorf("StartContainer: %v", err)
		}
		if c := status(t, r, sb.ID, id); c.State != kubelet.ContainerExited || c.ExitCode != 128 || c.Reason != "StartError" || c.Message == "" {
			t.Errorf("status = %+v", c)
		}
	}
	for _, tc := range []struct {
		name, want string
		change     func(*kubelet.ContainerConfig)
		kind       error
	}{
		{"image", "not present", func(c *kubelet.ContainerConfig) { c.Image = "absent" }, kubelet.ErrImageNotFound},
		{"nonroot", "container has runAsNonRoot and image will run as root", func(c *kubelet.ContainerConfig) { c.Security.RunAsNonRoot = true }, nil},
		{"capability", `unknown capability "CAP_FLY"`, func(c *kubelet.ContainerConfig) { c.Security.CapAdd = []string{"fly"} }, nil},
		{"mount", "/dev/null/dir", func(c *kubelet.ContainerConfig) {
			c.Mounts = []kubelet.Mount{{HostPath: "/dev/null/dir", ContainerPath: "/x"}}
		}, nil},
		{"signal", "unknown stop signal", func(c *kubelet.ContainerConfig) { c.StopSignal = "SIGFOO" }, nil},
		{"directory", "working directory", func(c *kubelet.ContainerConfig) { c.WorkingDir = "here" }, nil},
	} {
		cfg := kubelet.ContainerConfig{Name: "main", Image: appImage}
		tc.change(&cfg)
		_, err := r.CreateContainer(ctx, sb.ID, cfg)
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.kind != nil && !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := r.CreateContainer(ctx, "nonsense", kubelet.ContainerConfig{Image: appImage}); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("CreateContainer in a sandbox that is not there: %v", err)
	}
}

func TestExec(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	id := start(t, r, sb, nil, "wait")
	ctx := context.Background()
	var out, errOut bytes.Buffer
	code, err := r.Exec(ctx, id, []string{appPath, "stdin"}, strings.NewReader("shout"), &out, &errOut)
	if err != nil || code != 0 || out.String() != "SHOUT" {
		t.Errorf("Exec = %d, %v, %q, %q", code, err, out.String(), errOut.String())
	}
	if code, err := r.Exec(ctx, id, []string{appPath, "exit", "3"}, nil, nil, nil); code != 3 || err != nil {
		t.Errorf("Exec = %d, %v", code, err)
	}
	if _, err := r.Exec(ctx, id, []string{"no-such-program"}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("Exec of what is not there: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.Exec(short, id, []string{appPath, "stubborn"}, nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("Exec beyond its time: %v after %s", err, time.Since(began))
	}
	if err := r.StopContainer(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Exec(ctx, id, []string{appPath, "exit", "0"}, nil, nil, nil); !errors.Is(err, kubelet.ErrNotRunning) {
		t.Errorf("Exec in a stopped container: %v", err)
	}
}

func TestPodNetwork(t *testing.T) {
	r := open(t, runc.Config{})
	a, b := runSandbox(t, r, nil), runSandbox(t, r, nil)
	if len(a.IPs) != 1 || a.IPs[0] == b.IPs[0] {
		t.Fatalf("addresses %v and %v", a.IPs, b.IPs)
	}
	server := start(t, r, a, nil, "serve", ":80")
	waitLog(t, status(t, r, a.ID, server), "serving\n")
	for _, tc := range []struct {
		from kubelet.Sandbox
		to   string
	}{{b, a.IPs[0].String()}, {a, "127.0.0.1"}, {a, a.IPs[0].String()}} {
		c := waitExit(t, r, tc.from, start(t, r, tc.from, nil, "get", "http://"+tc.to))
		if got := logOf(t, c, "stdout"); got != "200 OK\n" {
			t.Errorf("get %s from %s: %q, %q", tc.to, tc.from.Config.Name, got, logOf(t, c, "stderr"))
		}
	}
	h := runSandbox(t, r, func(c *kubelet.SandboxConfig) { c.HostNetwork = true })
	c := waitExit(t, r, h, start(t, r, h, nil, "get", "http://"+a.IPs[0].String()))
	if got := logOf(t, c, "stdout"); got != "200 OK\n" {
		t.Errorf("get from the node's network: %q, %q", got, logOf(t, c, "stderr"))
	}
}

func TestHostPort(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, func(c *kubelet.SandboxConfig) {
		c.HostPorts = []kubelet.PortMapping{{Protocol: "TCP", HostPort: 8080, ContainerPort: 80}}
	})
	server := start(t, r, sb, nil, "serve", ":80")
	waitLog(t, status(t, r, sb.ID, server), "serving\n")
	host := runSandbox(t, r, func(c *kubelet.SandboxConfig) { c.HostNetwork = true })
	for _, addr := range []string{"127.0.0.1", "10.244.0.1"} {
		c := waitExit(t, r, host, start(t, r, host, nil, "get", "http://"+addr+":8080"))
		if got := logOf(t, c, "stdout"); got != "200 OK\n" {
			t.Errorf("get %s from the node: %q, %q", addr, got, logOf(t, c, "stderr"))
		}
	}
	c := waitExit(t, r, sb, start(t, r, sb, nil, "get", "http://10.244.0.1:8080"))
	if got := logOf(t, c, "stdout"); got != "200 OK\n" {
		t.Errorf("get from the pod itself: %q, %q", got, logOf(t, c, "stderr"))
	}
	_, err := r.RunSandbox(context.Background(), kubelet.SandboxConfig{UID: "second", Name: "second", HostPorts: sb.Config.HostPorts})
	if err == nil || !strings.Contains(err.Error(), "8080/TCP is in use") {
		t.Errorf("a second pod with the port: %v", err)
	}
}

func TestSandboxOptions(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, func(c *kubelet.SandboxConfig) {
		c.DNS = kubelet.DNSConfig{Servers: []string{"10.0.0.10"}, Searches: []string{"a.b", "c"}, Options: []string{"ndots:5"}}
		c.Sysctls = map[string]string{"net.core.somaxconn": "321", "kernel.shm_rmid_forced": "1"}
		c.Resources = kubelet.Resources{MemoryLimit: 64 << 20}
	})
	c := waitExit(t, r, sb, start(t, r, sb, nil, "cat", "/etc/resolv.conf", "/proc/sys/net/core/somaxconn", "/proc/sys/kernel/shm_rmid_forced"))
	if got, want := logOf(t, c, "stdout"), "search a.b c\nnameserver 10.0.0.10\noptions ndots:5\n321\n1\n"; got != want {
		t.Errorf("said %q, want %q; %q", got, want, logOf(t, c, "stderr"))
	}
	if c := waitExit(t, r, sb, start(t, r, sb, nil, "eat")); c.Reason != "OOMKilled" {
		t.Errorf("over-eater in a limited pod: %+v", c)
	}
	_, err := r.RunSandbox(context.Background(), kubelet.SandboxConfig{UID: "s", Name: "s", Sysctls: map[string]string{"vm.swappiness": "1"}})
	if err == nil || !strings.Contains(err.Error(), "vm.swappiness") {
		t.Errorf("a sysctl of the node: %v", err)
	}
}

func TestTerminalAndInput(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	c := waitExit(t, r, sb, start(t, r, sb, func(c *kubelet.ContainerConfig) { c.TTY = true }, "print", "tty"))
	if got := logOf(t, c, "stdout"); got != "tty\nto stderr\n" {
		t.Errorf("terminal said %q", got)
	}
	id := start(t, r, sb, func(c *kubelet.ContainerConfig) { c.Stdin = true }, "stdin")
	if err := r.StopContainer(context.Background(), id, 0); err != nil {
		t.Fatal(err)
	}
	if c := status(t, r, sb.ID, id); c.Signal != 9 {
		t.Errorf("a container that reads its open input has ended by itself: %+v", c)
	}
}

func TestImageInUseStays(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	ctx := context.Background()
	id := start(t, r, sb, nil, "wait")
	img, err := r.Image(ctx, appImage)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveImage(ctx, img.ID); err != nil {
		t.Fatal(err)
	}
	if code, err := r.Exec(ctx, id, []string{appPath, "exit", "0"}, nil, nil, nil); code != 0 || err != nil {
		t.Errorf("Exec after the image's removal: %d, %v", code, err)
	}
	if _, err := r.CreateContainer(ctx, sb.ID, kubelet.ContainerConfig{Image: appImage}); !errors.Is(err, kubelet.ErrImageNotFound) {
		t.Errorf("CreateContainer after the image's removal: %v", err)
	}
	addApp(t, r)
	start(t, r, sb, nil, "wait")
}

func TestManyPodsAtOnce(t *testing.T) {
	r := open(t, runc.Config{})
	ctx := context.Background()
	errs := make(chan error)
	const pods = 12
	for i := range pods {
		go func() {
			errs <- func() error {
				sb, err := r.RunSandbox(ctx, kubelet.SandboxConfig{UID: fmt.Sprint("many-", i), Name: fmt.Sprint(i), Hostname: "h"})
				if err != nil {
					return err
				}
				for range 2 {
					id, err := r.CreateContainer(ctx, sb.ID, kubelet.ContainerConfig{Name: "c", Image: appImage})
					if err != nil {
						return err
					}
					if err := r.StartContainer(ctx, id); err != nil {
						return err
					}
				}
				if i%2 == 0 {
					return r.RemoveSandbox(ctx, sb.ID)
				}
				return nil
			}()
		}()
	}
	for range pods {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	all, _ := r.Sandboxes(ctx)
	if len(all) != pods/2 {
		t.Errorf("%d sandboxes, want %d", len(all), pods/2)
	}
}

// TestStopAtOnce stops containers that have hardly begun: the signal must not be lost.
func TestStopAtOnce(t *testing.T) {
	r := open(t, runc.Config{})
	sb := runSandbox(t, r, nil)
	for range 10 {
		id := start(t, r, sb, nil, "wait")
		if err := r.StopContainer(context.Background(), id, time.Minute); err != nil {
			t.Fatal(err)
		}
		if c := status(t, r, sb.ID, id); c.Signal == 9 || c.FinishedAt.Sub(c.StartedAt) > 10*time.Second {
			t.Errorf("status = %+v", c)
		}
	}
}
