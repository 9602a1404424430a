package kubelettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/inboard/inboard/kubelet"
)

func images(t *testing.T, b *bench) {
	img, err := b.rt.Image(b.ctx(), Ref)
	if err != nil || !strings.HasPrefix(img.ID, "sha256:") || img.Size == 0 {
		t.Fatalf("Image: %+v, %v", img, err)
	}
	if list, err := b.rt.Images(b.ctx()); err != nil || len(list) != 1 || list[0].ID != img.ID {
		t.Errorf("Images: %+v, %v", list, err)
	}
	if _, err := b.rt.Image(b.ctx(), "registry.test/other:v1"); !errors.Is(err, kubelet.ErrImageNotFound) {
		t.Errorf("Image of what is not there: %v, want ErrImageNotFound", err)
	}
	if _, err := b.rt.Image(b.ctx(), "NOT an image"); !errors.Is(err, kubelet.ErrInvalidImageName) {
		t.Errorf("Image of a bad name: %v, want ErrInvalidImageName", err)
	}
	sb := b.sandbox("u")
	if _, err := b.rt.CreateContainer(b.ctx(), sb.ID, kubelet.ContainerConfig{Name: "a", Image: "registry.test/other:v1"}); !errors.Is(err, kubelet.ErrImageNotFound) {
		t.Errorf("CreateContainer without its image: %v, want ErrImageNotFound", err)
	}
	if err := b.rt.RemoveImage(b.ctx(), img.ID); err != nil {
		t.Errorf("RemoveImage: %v", err)
	}
	if err := b.rt.RemoveImage(b.ctx(), img.ID); err != nil {
		t.Errorf("RemoveImage again: %v", err)
	}
	if _, err := b.rt.Image(b.ctx(), Ref); !errors.Is(err, kubelet.ErrImageNotFound) {
		t.Errorf("Image after its removal: %v", err)
	}
}

func sandboxes(t *testing.T, b *bench) {
	one, two := b.sandbox("u1"), b.sandbox("u2")
	if !one.Ready || len(one.IPs) == 0 || one.ID == two.ID || one.IPs[0] == two.IPs[0] {
		t.Fatalf("sandboxes: %+v %+v", one, two)
	}
	got, err := b.rt.Sandbox(b.ctx(), one.ID)
	if err != nil || got.ID != one.ID || got.Config.UID != "u1" || got.IPs[0] != one.IPs[0] || !got.Ready || got.CreatedAt.IsZero() {
		t.Errorf("Sandbox: %+v, %v", got, err)
	}
	if all, err := b.rt.Sandboxes(b.ctx()); err != nil || len(all) != 2 {
		t.Errorf("Sandboxes: %+v, %v", all, err)
	}
	check(t, b.rt.StopSandbox(b.ctx(), one.ID))
	if got, err = b.rt.Sandbox(b.ctx(), one.ID); err != nil || got.Ready {
		t.Errorf("Sandbox after StopSandbox: %+v, %v", got, err)
	}
	check(t, b.rt.RemoveSandbox(b.ctx(), one.ID))
	if _, err = b.rt.Sandbox(b.ctx(), one.ID); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("Sandbox after RemoveSandbox: %v, want ErrNotFound", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func lifecycle(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.container(sb, "a", []string{"sleep"}, func(c *kubelet.ContainerConfig) { c.Attempt = 3 })
	c := b.state(sb.ID, id)
	if c == nil || c.State != kubelet.ContainerCreated || c.Name != "a" || c.Attempt != 3 || c.Image != Ref || c.ImageID == "" || c.CreatedAt.IsZero() || c.LogPath == "" {
		t.Fatalf("created: %+v", c)
	}
	b.start(id)
	if c = b.state(sb.ID, id); c.State != kubelet.ContainerRunning || c.StartedAt.IsZero() {
		t.Errorf("started: %+v", c)
	}
	b.awaitLog(sb, "a", "ready")
	check(t, b.rt.StopContainer(b.ctx(), id, 10*time.Second))
	if c = b.state(sb.ID, id); c.State != kubelet.ContainerExited || c.ExitCode != 0 || c.Reason != "Completed" || c.FinishedAt.Before(c.StartedAt) {
		t.Errorf("stopped: %+v", c)
	}
	if err := b.rt.StartContainer(b.ctx(), id); err == nil {
		t.Error("a container was started twice")
	}
	check(t, b.rt.RemoveContainer(b.ctx(), id))
	if c = b.state(sb.ID, id); c != nil {
		t.Errorf("removed: %+v", c)
	}
}

func exitCodes(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	for _, code := range []int{0, 1, 42, 255} {
		id := b.run(sb, fmt.Sprint("c", code), "exit", strconv.Itoa(code))
		c := b.await(sb.ID, id, kubelet.ContainerExited)
		want := "Error"
		if code == 0 {
			want = "Completed"
		}
		if c.ExitCode != code || c.Reason != want || c.Signal != 0 {
			t.Errorf("exit %d: %+v", code, c)
		}
	}
}

func output(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "print", "one", "two", "--", "oops")
	b.await(sb.ID, id, kubelet.ContainerExited)
	if out, errs := b.log(sb, "a", "stdout"), b.log(sb, "a", "stderr"); out != "one\ntwo\n" || errs != "oops\n" {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
	const n = 20000
	id = b.run(sb, "many", "lines", strconv.Itoa(n))
	b.await(sb.ID, id, kubelet.ContainerExited) // all output is in the log when the exit shows
	if got := strings.Count(b.log(sb, "many", ""), "\n"); got != n {
		t.Errorf("%d lines of %d are in the log", got, n)
	}
}

func envAndArgs(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.container(sb, "env", []string{"env", "FROM_IMAGE", "GIVEN", "HOSTNAME", "PATH"}, func(c *kubelet.ContainerConfig) {
		c.Env = []kubelet.EnvVar{{Name: "GIVEN", Value: "a b"}}
	})
	b.start(id)
	b.await(sb.ID, id, kubelet.ContainerExited)
	if got := b.log(sb, "env", ""); got != "yes\na b\npod-u\n/bin\n" {
		t.Errorf("environment: %q", got)
	}
	for name, cmd := range map[string][]string{"path": {"cell", "print", "x"}, "link": {"/cell", "print", "x"}, "absolute": {"/bin/cell", "print", "x"}} {
		id := b.container(sb, name, nil, func(c *kubelet.ContainerConfig) { c.Command = cmd })
		b.start(id)
		b.await(sb.ID, id, kubelet.ContainerExited)
		if got := b.log(sb, name, ""); got != "x\n" {
			t.Errorf("command %q printed %q", cmd, got)
		}
	}
}

func mounts(t *testing.T, b *bench) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	check(t, os.WriteFile(filepath.Join(dir, "in"), []byte("from the node\n"), 0o644))
	sb := b.sandbox("u")
	volume := func(c *kubelet.ContainerConfig) {
		c.Mounts = []kubelet.Mount{{HostPath: dir, ContainerPath: "/data/deep"}, {HostPath: filepath.Join(dir, "in"), ContainerPath: "/file"}}
	}
	id := b.container(sb, "read", []string{"cat", "/data/deep/in", "/file"}, volume)
	b.start(id)
	b.await(sb.ID, id, kubelet.ContainerExited)
	if got := b.log(sb, "read", ""); got != "from the node\nfrom the node\n" {
		t.Errorf("read %q", got)
	}
	id = b.container(sb, "write", []string{"write", "/data/deep/sub/out", "hello"}, volume)
	b.start(id)
	b.await(sb.ID, id, kubelet.ContainerExited)
	if got, err := os.ReadFile(filepath.Join(dir, "sub/out")); err != nil || string(got) != "hello" {
		t.Errorf("wrote %q, %v: %s", got, err, b.log(sb, "write", ""))
	}
}

func stopping(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "sleep")
	b.awaitLog(sb, "a", "ready")
	check(t, b.rt.StopContainer(b.ctx(), id, 10*time.Second))
	if c := b.state(sb.ID, id); c.State != kubelet.ContainerExited || c.ExitCode != 0 {
		t.Errorf("stopped: %+v", c)
	}
	if got := b.log(sb, "a", ""); got != "ready\nterminated\n" {
		t.Errorf("log: %q", got)
	}
}

func stopStubborn(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "stubborn")
	b.awaitLog(sb, "a", "ready")
	check(t, b.rt.StopContainer(b.ctx(), id, 50*time.Millisecond))
	if c := b.state(sb.ID, id); c.State != kubelet.ContainerExited || c.ExitCode != 137 || c.Reason != "Error" {
		t.Errorf("killed: %+v", c)
	}
}

func stopContext(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "stubborn")
	b.awaitLog(sb, "a", "ready")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.rt.StopContainer(ctx, id, time.Hour) }()
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("StopContainer tells of success, although its context ended first")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("StopContainer does not return when its context ends")
	}
	check(t, b.rt.StopContainer(b.ctx(), id, 0))
	if c := b.state(sb.ID, id); c.State != kubelet.ContainerExited {
		t.Errorf("killed: %+v", c)
	}
}

func execs(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "sleep")
	var out, errs bytes.Buffer
	code, err := b.rt.Exec(b.ctx(), id, []string{"/bin/cell", "print", "hi", "--", "oops"}, nil, &out, &errs)
	if err != nil || code != 0 || out.String() != "hi\n" || errs.String() != "oops\n" {
		t.Errorf("Exec: %d, %v, %q, %q", code, err, out.String(), errs.String())
	}
	if code, err = b.rt.Exec(b.ctx(), id, []string{"cell", "exit", "7"}, nil, &out, &out); err != nil || code != 7 {
		t.Errorf("Exec of exit 7: %d, %v", code, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err = b.rt.Exec(ctx, id, []string{"/bin/cell", "stubborn"}, nil, &out, &out); err == nil {
		t.Error("Exec tells of success, although its context ended")
	}
	if c := b.state(sb.ID, id); c.State != kubelet.ContainerRunning {
		t.Errorf("the container after its execs: %+v", c)
	}
	check(t, b.rt.StopContainer(b.ctx(), id, 0))
	if _, err = b.rt.Exec(b.ctx(), id, []string{"/bin/cell", "print"}, nil, &out, &out); !errors.Is(err, kubelet.ErrNotRunning) {
		t.Errorf("Exec in a stopped container: %v, want ErrNotRunning", err)
	}
}

func startError(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.container(sb, "a", nil, func(c *kubelet.ContainerConfig) { c.Command = []string{"/no/such/program"} })
	err := b.rt.StartContainer(b.ctx(), id)
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Fatalf("StartContainer: %v, want an error that names the program", err)
	}
	c := b.state(sb.ID, id)
	if c == nil || c.State != kubelet.ContainerExited || c.ExitCode == 0 || c.Reason == "" || c.Message == "" {
		t.Errorf("after a failed start: %+v", c)
	}
}

func stopSandbox(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	one, two := b.run(sb, "a", "stubborn"), b.run(sb, "b", "sleep")
	created := b.container(sb, "c", []string{"sleep"}, nil)
	check(t, b.rt.StopSandbox(b.ctx(), sb.ID))
	for _, id := range []string{one, two} {
		if c := b.state(sb.ID, id); c == nil || c.State != kubelet.ContainerExited {
			t.Errorf("after StopSandbox: %+v", c)
		}
	}
	if err := b.rt.StartContainer(b.ctx(), created); err == nil {
		t.Error("a container was started in a stopped sandbox")
	}
	if _, err := b.rt.CreateContainer(b.ctx(), sb.ID, kubelet.ContainerConfig{Name: "d", Image: Ref}); err == nil {
		t.Error("a container was created in a stopped sandbox")
	}
	check(t, b.rt.RemoveSandbox(b.ctx(), sb.ID))
}

func descendants(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "spawn")
	b.awaitLog(sb, "a", "ready")
	pid, err := strconv.Atoi(strings.SplitN(b.log(sb, "a", ""), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	check(t, b.rt.StopContainer(b.ctx(), id, time.Second))
	// In a PID namespace of its own the number means nothing here; then the kernel ends it all.
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && bytes.Contains(env, []byte(id)) && syscall.Kill(pid, 0) == nil {
		t.Errorf("process %d outlives its container", pid)
	}
}

func unknown(t *testing.T, b *bench) {
	const id = "0123456789abcdef"
	for what, err := range map[string]error{
		"StopSandbox": b.rt.StopSandbox(b.ctx(), id), "RemoveSandbox": b.rt.RemoveSandbox(b.ctx(), id),
		"StopContainer":   b.rt.StopContainer(b.ctx(), id, time.Second),
		"RemoveContainer": b.rt.RemoveContainer(b.ctx(), id),
	} {
		if err != nil && !errors.Is(err, kubelet.ErrNotFound) {
			t.Errorf("%s of what does not exist: %v, want nil or ErrNotFound", what, err)
		}
	}
	if _, err := b.rt.Sandbox(b.ctx(), id); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("Sandbox: %v, want ErrNotFound", err)
	}
	if err := b.rt.StartContainer(b.ctx(), id); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("StartContainer: %v, want ErrNotFound", err)
	}
	if _, err := b.rt.CreateContainer(b.ctx(), id, kubelet.ContainerConfig{Name: "a", Image: Ref}); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("CreateContainer: %v, want ErrNotFound", err)
	}
	if _, err := b.rt.Exec(b.ctx(), id, []string{"x"}, nil, nil, nil); !errors.Is(err, kubelet.ErrNotFound) {
		t.Errorf("Exec: %v, want ErrNotFound", err)
	}
}

func idempotent(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	id := b.run(sb, "a", "sleep")
	for range 2 {
		check(t, b.rt.StopContainer(b.ctx(), id, 0))
	}
	for range 2 {
		check(t, b.rt.StopSandbox(b.ctx(), sb.ID))
	}
	for range 2 {
		check(t, b.rt.RemoveContainer(b.ctx(), id))
	}
	next := b.sandbox("v") // may get the address that the first gave back
	for range 2 {
		check(t, b.rt.RemoveSandbox(b.ctx(), sb.ID))
	}
	other := b.sandbox("w")
	if next.IPs[0] == other.IPs[0] {
		t.Error("two sandboxes have one address")
	}
}

func concurrent(t *testing.T, b *bench) {
	go func() {
		for range b.rt.Events() {
		}
	}()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			sb := b.sandbox(fmt.Sprint("u", i))
			id := b.run(sb, "a", "sleep")
			if i%2 == 0 {
				check(t, b.rt.StopContainer(b.ctx(), id, time.Second))
			}
			check(t, b.rt.StopSandbox(b.ctx(), sb.ID))
			check(t, b.rt.RemoveSandbox(b.ctx(), sb.ID))
		})
	}
	wg.Wait()
	if all, err := b.rt.Sandboxes(b.ctx()); err != nil || len(all) != 0 {
		t.Errorf("left: %+v, %v", all, err)
	}
}

func eventful(t *testing.T, b *bench) {
	sb := b.sandbox("the-uid")
	b.run(sb, "a", "exit", "0")
	for {
		select {
		case uid := <-b.rt.Events():
			if uid != "the-uid" {
				t.Fatalf("an event of %q", uid)
			}
			if s, err := b.rt.Sandbox(b.ctx(), sb.ID); err == nil && s.Containers[0].State == kubelet.ContainerExited {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no event tells of the exit")
		}
	}
}

func closing(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	b.run(sb, "a", "stubborn")
	b.run(sb, "b", "sleep")
	began := time.Now()
	check(t, b.rt.Close())
	t.Logf("Close took %v", time.Since(began))
	check(t, b.rt.Close())
	for {
		if _, ok := <-b.rt.Events(); !ok {
			break
		}
	}
	if _, err := b.rt.RunSandbox(b.ctx(), kubelet.SandboxConfig{UID: "v", Name: "v", LogDir: b.logs}); err == nil {
		t.Error("RunSandbox after Close")
	}
}

func reopen(t *testing.T, b *bench) {
	sb := b.sandbox("u")
	b.run(sb, "a", "sleep")
	check(t, b.rt.Close())
	b.rt = b.cfg.Open(b.t, b.dir)
	if all, err := b.rt.Sandboxes(b.ctx()); err != nil || len(all) != 0 {
		t.Errorf("a new runtime has %+v, %v", all, err)
	}
	if _, err := b.rt.Image(b.ctx(), Ref); err != nil {
		t.Errorf("images do not stay: %v", err)
	}
}
