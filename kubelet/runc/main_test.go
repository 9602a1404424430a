package runc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/internal/selfimage"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/runc"
)

const (
	appPath    = "/bin/app" // this test binary in a container
	appImage   = "test/app:v1"
	asProgram  = "INBOARD_TEST_PROGRAM" // set for the program that embeds the runtime
	programDir = "INBOARD_TEST_DIR"
	parentName = "INBOARD_TEST_CGROUP_PARENT"
	cgroup2    = "INBOARD_TEST_CGROUP2" // the tests see version 2 of cgroups only
)

// TestMain is four programs: the container's command, one that embeds the runtime, the tests, and before them the
// one that moves the tests into namespaces of their own.
func TestMain(m *testing.M) {
	runc.Init()
	if os.Args[0] == appPath {
		os.Exit(app(os.Args[1:]))
	}
	if os.Getenv(asProgram) != "" {
		os.Exit(program(os.Getenv(programDir)))
	}
	nstest.Enter(parentName + "=" + fmt.Sprint("runctest-", os.Getpid()))
	prepareInside()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeOwnTemp()
		for _, d := range cgroupDirs() {
			_ = os.Remove(d)
		}
		os.Exit(code)
	}))
}

// prepareInside gives the tests names of their own for all that they make: others may run
// containers on this machine.
func prepareInside() {
	own := filepath.Join(os.TempDir(), filepath.Base(cgroupParent()))
	if err := errors.Join(os.MkdirAll(own, 0o755), os.Setenv("TMPDIR", own)); err != nil {
		panic(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if os.Getenv(cgroup2) != "" {
		_ = unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)
		if err := unix.Mount("none", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
			panic(err)
		}
	}
}

// app is what the test images run.
func app(args []string) int {
	if len(args) == 0 {
		args = []string{"wait"}
	}
	switch args[0] {
	case "wait": // until told to stop
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("waiting")
		fmt.Println("got", <-ch)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn")
		time.Sleep(time.Hour)
	case "exit":
		n, _ := strconv.Atoi(args[1])
		return n
	case "print":
		fmt.Fprintln(os.Stdout, strings.Join(args[1:], " "))
		fmt.Fprintln(os.Stderr, "to stderr")
	case "long":
		n, _ := strconv.Atoi(args[1])
		fmt.Println(strings.Repeat("x", n))
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "id":
		groups, _ := os.Getgroups()
		wd, _ := os.Getwd()
		host, _ := os.Hostname()
		fmt.Println(os.Getuid(), os.Getgid(), groups, wd, host, os.Getpid())
	case "cat":
		for _, f := range args[1:] {
			data, err := os.ReadFile(f)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			os.Stdout.Write(data)
		}
	case "stat":
		if _, err := os.Stat(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "write":
		if err := os.WriteFile(args[1], []byte("x"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "stdin":
		var b bytes.Buffer
		_, _ = b.ReadFrom(os.Stdin)
		fmt.Print(strings.ToUpper(b.String()))
	case "eat":
		return eat()
	case "ls":
		entries, _ := os.ReadDir(args[1])
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	case "serve":
		return serve(args[1])
	case "get":
		resp, err := http.Get(args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(resp.Status)
	default:
		fmt.Fprintln(os.Stderr, "unknown", args[0])
		return 2
	}
	return 0
}

// eat takes memory until it is killed.
func eat() int {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
		if len(all) > 4096 {
			return 0
		}
	}
}

func serve(addr string) int {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("serving")
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }))
	return 0
}

// removeOwnTemp removes what prepareInside made, and certainly nothing else.
func removeOwnTemp() {
	if own := os.Getenv("TMPDIR"); strings.HasPrefix(filepath.Base(own), "runctest-") {
		_ = os.RemoveAll(own)
	}
}

func cgroupParent() string {
	if p := os.Getenv(parentName); p != "" {
		return p
	}
	return fmt.Sprint("runctest-", os.Getpid())
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: containers, mounts and networks are root's")
	}
}

func open(t testing.TB, cfg runc.Config) *runc.Runtime {
	t.Helper()
	needRoot(t)
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Logger, cfg.CgroupParent = testLogger(t), cgroupParent()
	r, err := runc.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	addApp(t, r)
	return r
}

func addApp(t testing.TB, r *runc.Runtime) {
	t.Helper()
	if err := addAppTo(r); err != nil {
		t.Fatal(err)
	}
}

func addAppTo(r *runc.Runtime) error {
	files, err := selfimage.Executable(appPath)
	if err != nil {
		return err
	}
	files = append(files,
		selfimage.File{Path: "/etc/passwd", Data: []byte("root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"), Mode: 0o644},
		selfimage.File{Path: "/etc/group", Data: []byte("root:x:0:\nalice:x:1001:\nstaff:x:50:alice\n"), Mode: 0o644})
	img, err := selfimage.New(selfimage.Config{Files: files, Entrypoint: []string{appPath}, Env: []string{"FROM=image"}})
	if err != nil {
		return err
	}
	_, err = r.ImageStore().Add(context.Background(), appImage, img)
	return err
}

var uid int

func runSandbox(t testing.TB, r *runc.Runtime, change func(*kubelet.SandboxConfig)) kubelet.Sandbox {
	t.Helper()
	uid++
	cfg := kubelet.SandboxConfig{
		Namespace: "default", Name: fmt.Sprintf("pod-%d", uid), UID: fmt.Sprintf("uid-%d", uid),
		Hostname: "pod", LogDir: filepath.Join(t.TempDir(), "logs"),
	}
	if change != nil {
		change(&cfg)
	}
	sb, err := r.RunSandbox(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

// start starts a container that runs the app with the given arguments.
func start(t testing.TB, r *runc.Runtime, sb kubelet.Sandbox, change func(*kubelet.ContainerConfig), args ...string) string {
	t.Helper()
	uid++
	cfg := kubelet.ContainerConfig{
		Name: "main", Image: appImage, Args: args,
		LogPath: filepath.Join(sb.Config.LogDir, fmt.Sprintf("%d.log", uid)),
	}
	if change != nil {
		change(&cfg)
	}
	id, err := r.CreateContainer(context.Background(), sb.ID, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.StartContainer(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func status(t testing.TB, r *runc.Runtime, sandboxID, id string) kubelet.Container {
	t.Helper()
	sb, err := r.Sandbox(context.Background(), sandboxID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sb.Containers {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no container %s in %+v", id, sb)
	return kubelet.Container{}
}

// waitExit waits for a container's exit by the runtime's events.
func waitExit(t testing.TB, r *runc.Runtime, sb kubelet.Sandbox, id string) kubelet.Container {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if c := status(t, r, sb.ID, id); c.State == kubelet.ContainerExited {
			return c
		}
		select {
		case <-r.Events():
		case <-deadline:
			t.Fatalf("container does not exit: %+v", status(t, r, sb.ID, id))
		}
	}
}

// logOf returns what a container said, without the log's own columns.
func logOf(t testing.TB, c kubelet.Container, stream string) string {
	t.Helper()
	data, err := os.ReadFile(c.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(line, " ", 4)
		if len(f) == 4 && f[1] == stream {
			b.WriteString(f[3])
		}
	}
	return b.String()
}
