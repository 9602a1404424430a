// Package e2e tests the whole of inboard as its users meet it: examples/cluster as a program of its
// own, the real kubectl, real containers, real connections. The stories are in testdata.
package e2e

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"

	"github.com/inboard/inboard/internal/nstest"
	"github.com/inboard/inboard/internal/selfimage"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if run, ok := programs[os.Args[1]]; ok { // in a container
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	flag.Parse()
	// The scripts share the machine's cgroups and one network namespace.
	_ = flag.Set("test.parallel", "1")
	nstest.Enter()
	if nstest.Inside() {
		if err := network(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run()) // without root, all skip
}

// nodeIP is the address of the node in the tests' network.
const nodeIP = "10.9.9.9"

// network makes the namespace look like a host with one network card, that leads nowhere.
func network() error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "card"}, PeerName: "wall"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	wall, err := netlink.LinkByName("wall")
	if err != nil {
		return err
	}
	for _, l := range []netlink.Link{veth, wall} {
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	if err := netlink.AddrAdd(veth, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(nodeIP), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	// Packets to a service's address need a route before the proxy's rules send them elsewhere.
	return netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Scope: netlink.SCOPE_LINK,
		Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}})
}

// build is where the programs are: built once for all scripts.
func build(t testing.TB) string {
	t.Helper()
	dir := openDir(t)
	for _, b := range []struct{ dir, out, what string }{
		{"../..", "", "./examples/..."},
		{"../kubectl", "kubectl", "."},
	} {
		cmd := exec.Command("go", "build", "-tags=seccomp,grpcnotrace", "-o", dir+"/"+b.out, b.what)
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", b.what, err, out)
		}
	}
	return dir
}

// openDir is a temporary directory that those who are not root can enter, too.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// registry serves images of this test on loopback, and returns its URL.
func registry(t testing.TB) string {
	t.Helper()
	files, err := selfimage.Executable("/program")
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for name, cmd := range map[string][]string{
		"test/web:v1": {"web", "-say", "v1"}, "test/web:v2": {"web", "-say", "v2"},
		"test/echo:v1": {"echo"}, "test/eater:v1": {"eat"}, "test/fail:v1": {"fail"},
	} {
		img, err := selfimage.New(selfimage.Config{Files: files, Entrypoint: []string{"/program"}, Cmd: cmd})
		if err != nil {
			t.Fatal(err)
		}
		images[name] = img
	}
	handler, err := selfimage.NewRegistry(images)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, handler)
}

func TestStories(t *testing.T) { stories(t, "testdata") }

// stories runs the scripts of a folder, and looks afterwards at what they left on the machine.
func stories(t *testing.T, dir string) {
	t.Helper()
	nstest.Need(t)
	if testing.Short() {
		t.Skip("takes minutes; left out with -short")
	}
	if _, err := exec.LookPath("iptables-restore"); err != nil {
		t.Skip("needs iptables: apt-get install iptables")
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	bin, images := build(t), registry(t)
	linked(t, filepath.Join(bin, "cluster"))
	before := traces(t)
	testscript.Run(t, testscript.Params{
		Dir:         dir,
		Cmds:        commands,
		WorkdirRoot: openDir(t),
		Condition: func(cond string) (bool, error) {
			if cond != "realworld" {
				return false, errors.New("there is only the condition realworld")
			}
			return realworld() != "", nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("REGISTRY", images)
			e.Setenv("HANGING", hanging(t))
			e.Setenv("REALWORLD", realworld())
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "kubeconfig"))
			e.Setenv("NODE_IP", nodeIP)
			if err := os.Chmod(e.WorkDir, 0o777); err != nil {
				return err
			}
			s := &story{t: t}
			e.Values["story"] = s
			e.Defer(s.end)
			return nil
		},
	})
	t.Cleanup(func() { before.compare(t, traces(t)) })
}

// realworld is the folder with manifests that others wrote, beside the project where it is there.
func realworld() string {
	dir, err := filepath.Abs("../../../shared/realworld")
	if err != nil {
		return ""
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}
