package e2e

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// state is what a program could leave behind on a machine, by kind.
type state map[string][]string

// traces looks at everything that a cluster makes.
func traces(t *testing.T) state {
	t.Helper()
	s := state{
		"mount": lines(t, "/proc/self/mountinfo", func(l string) string {
			f := strings.Fields(l)
			return f[4] // the mount point; the IDs before it are never the same
		}),
		"cgroup":         cgroups(t),
		"rule":           append(rules(t, "iptables-save"), rules(t, "ip6tables-save")...),
		"link":           links(t),
		"process":        processes(t),
		"temporary file": glob(t, filepath.Join(os.TempDir(), "inboard-cluster-*")),
		"sysctl": {read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/net/ipv4/conf/all/route_localnet"),
			read("/proc/sys/net/ipv4/conf/lo/route_localnet")},
	}
	for _, l := range s {
		slices.Sort(l)
	}
	return s
}

// compare reports what is there now and was not before.
func (s state) compare(t *testing.T, now state) {
	t.Helper()
	for kind, list := range now {
		for _, x := range list {
			if !slices.Contains(s[kind], x) {
				t.Errorf("left behind: %s %s", kind, x)
			}
		}
	}
}

func lines(t *testing.T, file string, pick func(string) string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		out = append(out, pick(sc.Text()))
	}
	return out
}

// cgroups are the directories with inboard in their name, in all hierarchies. Tests of the container
// runtime, which may run at the same time, have theirs below one of their own.
func cgroups(t *testing.T) []string {
	t.Helper()
	var out []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), "runctest-") {
			return fs.SkipDir
		}
		if err == nil && d.IsDir() && strings.Contains(d.Name(), "inboard") {
			out = append(out, path)
		}
		return nil // others' cgroups come and go meanwhile
	})
	return out
}

// rules are the rules and the chains of a table, without counters and comments.
func rules(t *testing.T, command string) []string {
	t.Helper()
	text, err := exec.Command(command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	var out []string
	for l := range strings.Lines(string(text)) {
		chain, _, _ := strings.Cut(strings.TrimSpace(l), " [")
		// The tables themselves and their built-in chains stay once somebody looked at them.
		if strings.HasPrefix(l, "-A ") || (strings.HasPrefix(l, ":") && strings.HasSuffix(chain, " -")) {
			out = append(out, command+" "+chain)
		}
	}
	return out
}

func links(t *testing.T) []string {
	t.Helper()
	list, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range list {
		out = append(out, l.Attrs().Name)
	}
	return out
}

// processes are the running programs of this test: the cluster, and this test in containers.
func processes(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range glob(t, "/proc/[0-9]*") {
		cmd := strings.ReplaceAll(read(filepath.Join(dir, "cmdline")), "\x00", " ")
		if strings.HasPrefix(cmd, "/program ") || strings.HasPrefix(cmd, "cluster ") || strings.Contains(cmd, "/cluster -") {
			out = append(out, cmd)
		}
	}
	return out
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(file string) string {
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}
