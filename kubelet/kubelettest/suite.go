package kubelettest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/inboard/inboard/kubelet"
)

// Ref is the reference under which the suite's image is added.
const Ref = "registry.test/kubelettest/cell:v1"

// Config tells the suite what it tests.
type Config struct {
	// Open opens a runtime whose state is in dir, a folder of its own. The suite closes it.
	Open func(t testing.TB, dir string) kubelet.Runtime
	// Add adds an image that was made in memory.
	Add func(ctx context.Context, rt kubelet.Runtime, ref string, img v1.Image) error
}

// Run holds a runtime to the rules of kubelet.Runtime.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		f    func(*testing.T, *bench)
	}{
		{"Images", images}, {"Sandbox", sandboxes}, {"Lifecycle", lifecycle}, {"ExitCodes", exitCodes},
		{"Output", output}, {"EnvAndArgs", envAndArgs}, {"Mounts", mounts}, {"Stop", stopping},
		{"StopStubborn", stopStubborn}, {"StopHonoursContext", stopContext}, {"Exec", execs},
		{"StartError", startError}, {"StopSandboxKills", stopSandbox}, {"Descendants", descendants},
		{"Unknown", unknown}, {"Idempotent", idempotent}, {"Concurrent", concurrent}, {"Events", eventful},
		{"Close", closing}, {"Reopen", reopen},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, cfg: cfg, dir: t.TempDir(), logs: t.TempDir()}
			b.open()
			defer b.close()
			c.f(t, b)
		})
	}
}

// bench is a runtime with the suite's image and what tests do with it.
type bench struct {
	t    testing.TB
	cfg  Config
	dir  string
	logs string
	rt   kubelet.Runtime
	n    int
}

func (b *bench) open() {
	b.t.Helper()
	b.rt = b.cfg.Open(b.t, b.dir)
	if err := b.cfg.Add(context.Background(), b.rt, Ref, Image(b.t, nil)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	if err := b.rt.Close(); err != nil {
		b.t.Errorf("Close: %v", err)
	}
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

// sandbox runs a sandbox.
func (b *bench) sandbox(uid string) kubelet.Sandbox {
	b.t.Helper()
	logs := filepath.Join(b.logs, uid)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		b.t.Fatal(err)
	}
	sb, err := b.rt.RunSandbox(b.ctx(), kubelet.SandboxConfig{Namespace: "default", Name: "pod-" + uid, UID: uid,
		Hostname: "pod-" + uid, LogDir: logs, QOSClass: "besteffort"})
	if err != nil {
		b.t.Fatalf("RunSandbox: %v", err)
	}
	return sb
}

// container creates a container that runs the test program with args.
func (b *bench) container(sb kubelet.Sandbox, name string, args []string, edit func(*kubelet.ContainerConfig)) string {
	b.t.Helper()
	b.n++
	cfg := kubelet.ContainerConfig{Name: name, Image: Ref, Args: args, LogPath: filepath.Join(sb.Config.LogDir, name+".log")}
	if edit != nil {
		edit(&cfg)
	}
	id, err := b.rt.CreateContainer(b.ctx(), sb.ID, cfg)
	if err != nil {
		b.t.Fatalf("CreateContainer: %v", err)
	}
	return id
}

func (b *bench) start(id string) {
	b.t.Helper()
	if err := b.rt.StartContainer(b.ctx(), id); err != nil {
		b.t.Fatalf("StartContainer: %v", err)
	}
}

// run creates and starts a container.
func (b *bench) run(sb kubelet.Sandbox, name string, args ...string) string {
	b.t.Helper()
	id := b.container(sb, name, args, nil)
	b.start(id)
	return id
}

// state returns a container's state, nil when the runtime does not know it.
func (b *bench) state(sandbox, id string) *kubelet.Container {
	b.t.Helper()
	sb, err := b.rt.Sandbox(b.ctx(), sandbox)
	if errors.Is(err, kubelet.ErrNotFound) {
		return nil
	}
	if err != nil {
		b.t.Fatalf("Sandbox: %v", err)
	}
	for i := range sb.Containers {
		if sb.Containers[i].ID == id {
			return &sb.Containers[i]
		}
	}
	return nil
}

// await waits for news until a container is in a state.
func (b *bench) await(sandbox, id string, want kubelet.ContainerState) *kubelet.Container {
	b.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if c := b.state(sandbox, id); c != nil && c.State == want {
			return c
		}
		select {
		case _, ok := <-b.rt.Events():
			if !ok {
				b.t.Fatal("the events ended")
			}
		case <-deadline:
			b.t.Fatalf("container %.12s is not in state %d, and no event tells of it: %+v", id, want, b.state(sandbox, id))
		}
	}
}

// log returns a container's output, without times.
func (b *bench) log(sb kubelet.Sandbox, name, stream string) string {
	b.t.Helper()
	var out strings.Builder
	path := filepath.Join(sb.Config.LogDir, name+".log")
	if err := kubelet.ReadLog(b.ctx(), path, kubelet.LogOptions{Stream: stream}, &out); err != nil {
		b.t.Fatal(err)
	}
	return out.String()
}

// awaitLog waits until a container's log has the given line.
func (b *bench) awaitLog(sb kubelet.Sandbox, name, line string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), 20*time.Second)
	defer cancel()
	seen := &lineWaiter{want: line, found: cancel}
	path := filepath.Join(sb.Config.LogDir, name+".log")
	if err := kubelet.ReadLog(ctx, path, kubelet.LogOptions{Follow: true}, seen); err != nil {
		b.t.Fatal(err)
	}
	if !seen.ok {
		b.t.Fatalf("container %s never printed %q; it printed %q", name, line, seen.text.String())
	}
}

type lineWaiter struct {
	want  string
	found context.CancelFunc
	ok    bool
	text  strings.Builder
}

func (l *lineWaiter) Write(p []byte) (int, error) {
	l.text.Write(p)
	if strings.Contains(l.text.String(), l.want+"\n") {
		l.ok = true
		l.found()
	}
	return len(p), nil
}
