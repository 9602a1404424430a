// Package cluster runs examples/cluster for the tests of clients: the API server, the scheduler, the controllers and
// a kubelet whose containers are plain processes, so that neither root nor a network is needed.
package cluster

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/inboard/inboard/internal/selfimage"
)

// Patience bounds each wait for something that must happen.
const Patience = 2 * time.Minute

// Root is the folder of the main module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}

// bin spares packages that are tested one after the other building the same.
var bin = flag.String("bin", "", "a folder with the programs cluster, kubectl and helm; what is not there is built")

// Build finds a program in -bin, or builds it from a command of the module in dir, a path below Root, into the folder
// to, and returns its path. flags go to the linker.
func Build(to, dir, what, name, flags string) (string, error) {
	out := filepath.Join(*bin, name)
	if _, err := os.Stat(out); *bin != "" && err == nil {
		return filepath.Abs(out)
	}
	out = filepath.Join(to, name)
	cmd := exec.Command("go", "build", "-ldflags", flags, "-o", out, what)
	cmd.Dir, cmd.Env = filepath.Join(Root(), dir), append(os.Environ(), "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", what, err, text)
	}
	return out, nil
}

// Programs are what a test needs to start clusters.
type Programs struct {
	// Dir is a folder for programs and for clusters, on a disk that is not so full that a kubelet takes no pods.
	Dir      string
	cluster  string
	registry *httptest.Server
}

// Prepare is Open for the length of a test.
func Prepare(t testing.TB) *Programs {
	t.Helper()
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Open builds the cluster and serves the images of its pods: registry.test/test/web:v1 and :v2, test/once:v1, and
// test/shell:v1, which has sh, cat, sleep, tar and true of this machine.
func Open() (*Programs, error) {
	p := &Programs{}
	var err error
	if p.Dir, err = roomy(); err != nil {
		return nil, err
	}
	if p.cluster, err = Build(p.Dir, ".", "./examples/cluster", "cluster", ""); err == nil {
		err = p.serveImages()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close removes everything.
func (p *Programs) Close() {
	if p.registry != nil {
		p.registry.Close()
	}
	_ = os.RemoveAll(p.Dir)
}

func (p *Programs) serveImages() error {
	pod, err := Build(p.Dir, "internal/clients", "./cluster/pod", "pod", "-s -w")
	if err != nil {
		return err
	}
	images := map[string]v1.Image{}
	for name, cmd := range map[string][]string{
		"test/web:v1": {"serve", "-say", "v1"}, "test/web:v2": {"serve", "-say", "v2"}, "test/once:v1": {"once"}, "test/shell:v1": {"serve", "-say", "shell"},
	} {
		files := []selfimage.File{{Path: "/pod", Host: pod, Mode: 0o755}}
		if strings.HasPrefix(name, "test/shell:") {
			more, err := tools()
			if err != nil {
				return err
			}
			files = append(files, more...)
		}
		img, err := selfimage.New(selfimage.Config{Files: files, Entrypoint: []string{"/pod"}, Cmd: cmd})
		if err != nil {
			return err
		}
		images[name] = img
	}
	handler, err := selfimage.NewRegistry(images)
	if err != nil {
		return err
	}
	p.registry = httptest.NewServer(handler)
	return nil
}

// roomy makes a temporary folder, in memory when hardly a tenth of the disk is free: the kubelet would find that too
// little.
func roomy() (string, error) {
	where := os.TempDir()
	var st syscall.Statfs_t
	if err := syscall.Statfs(where, &st); err != nil {
		return "", err
	}
	if st.Bavail < st.Blocks/8 {
		where = "/dev/shm"
	}
	return os.MkdirTemp(where, "clients-")
}

// tools are programs of this machine. They find their libraries, as processes see the machine's files.
func tools() ([]selfimage.File, error) {
	var files []selfimage.File
	for _, name := range []string{"sh", "cat", "sleep", "tar", "true", "ls"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, err
		}
		files = append(files, selfimage.File{Path: "/bin/" + name, Host: path, Mode: 0o755})
	}
	return files, nil
}

// Cluster is a running cluster.
type Cluster struct {
	// Dir holds the kubeconfig, and all state when the cluster is durable.
	Dir        string
	Kubeconfig string
	programs   *Programs
	args       []string
	cmd        *exec.Cmd
	log        *buffer
	exited     chan struct{}
	err        error
}

// Start starts a cluster in a folder and waits until it is up. With args such as "-dir" it is durable.
func (p *Programs) Start(dir string, args ...string) (*Cluster, error) {
	c := &Cluster{Dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig"), programs: p}
	// Pods are processes of one machine: clusters that run side by side must not share their addresses.
	pods := fmt.Sprintf("127.%d.0.0/16", 65+(uint32(os.Getpid())*16+started.Add(1))%180)
	c.args = append([]string{"-pod-cidr", pods, "-kubeconfig", c.Kubeconfig, "-node-name", "node-a", "-runtime", "process", "-demo=false",
		"-components", "apiserver,scheduler,controllers,kubelet", "-listen", "127.0.0.1:0",
		"-registry-mirror", "registry.test=" + p.registry.URL}, args...)
	return c, c.Restart()
}

var started atomic.Uint32

// Restart starts a cluster that was killed or stopped.
func (c *Cluster) Restart(args ...string) error {
	c.log, c.exited = &buffer{}, make(chan struct{})
	c.cmd = exec.Command(c.programs.cluster, append(c.args[:len(c.args):len(c.args)], args...)...)
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = c.Dir, c.log, c.log
	c.cmd.Env = append(os.Environ(), "TMPDIR="+c.programs.Dir)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The parent's death is told when the thread ends that started the child.
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
		}
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	for deadline := time.Now().Add(Patience); !strings.Contains(c.log.String(), "Ctrl-C stops everything"); {
		select {
		case <-c.exited:
			return fmt.Errorf("the cluster ended: %v\n%s", c.err, c.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the cluster is not up:\n%s", c.log)
		}
	}
	return nil
}

// Kill pulls the plug.
func (c *Cluster) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// Stop presses Ctrl-C, which must end the cluster with nothing wrong.
func (c *Cluster) Stop() error {
	select {
	case <-c.exited:
		return nil
	default:
	}
	_ = c.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.exited:
		if c.err != nil {
			return fmt.Errorf("the cluster ended with %w:\n%s", c.err, c.log)
		}
		return nil
	case <-time.After(time.Minute):
		c.Kill()
		return errors.New("the cluster did not end:\n" + c.log.String())
	}
}

// Output is what the cluster has said.
func (c *Cluster) Output() string { return c.log.String() }

// Eventually tries until it works.
func Eventually(try func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Ask gets a URL.
func Ask(url string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return b.String(), err
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
