package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// cgroupTree is where a Runtime's cgroups are:
//
//	<parent>/inboard-<mark>/pod<uid>/<container>
type cgroupTree struct {
	parent string // with inboard-<mark>
	// dirs are the directories of parent, one for each hierarchy.
	dirs []string
	// made are cgroups that the configured parent consists of, and that were not there before.
	made []string
	// swap tells whether memory and swap together can be limited.
	swap bool
}

func openCgroups(parent, mark string) (cgroupTree, error) {
	if parent == "" && cgroups.IsCgroup2UnifiedMode() {
		parent = "/" // a cgroup that has processes, such as our own, cannot have limited children
	}
	t := cgroupTree{parent: path.Join(parent, "inboard-"+mark)}
	m, err := manager.New(&cgroups.Cgroup{Path: t.parent, Resources: &cgroups.Resources{SkipDevices: true}})
	if err != nil {
		return cgroupTree{}, fmt.Errorf("runc: find the cgroup hierarchy (is it mounted at /sys/fs/cgroup?): %w", err)
	}
	seen := map[string]bool{}
	for controller, dir := range m.GetPaths() {
		if !seen[dir] {
			seen[dir] = true
			t.dirs = append(t.dirs, dir)
			if _, err := os.Stat(filepath.Dir(dir)); err != nil {
				t.made = append(t.made, filepath.Dir(dir))
			}
		}
		if controller == "memory" && !cgroups.IsCgroup2UnifiedMode() {
			_, err := os.Stat(filepath.Join(filepath.Dir(dir), "memory.memsw.limit_in_bytes"))
			t.swap = err == nil
		}
	}
	if cgroups.IsCgroup2UnifiedMode() {
		t.swap = true
	}
	return t, nil
}

func (t cgroupTree) podPath(uid string) string { return path.Join(t.parent, "pod"+safeName(uid)) }

func (t cgroupTree) containerPath(uid, id string) string { return path.Join(t.podPath(uid), id) }

// safeName makes a UID, which the API server does not check, fit for a directory.
func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == 0 {
			return '_'
		}
		return r
	}, s)
}

// makePod makes a pod's cgroup.
func (t cgroupTree) makePod(uid string, res kubelet.Resources) (cgroups.Manager, error) {
	limits := t.limits(res)
	limits.SkipDevices = true
	m, err := manager.New(&cgroups.Cgroup{Path: t.podPath(uid), Resources: limits})
	if err != nil {
		return nil, err
	}
	if err := m.Apply(-1); err != nil {
		return nil, err
	}
	return m, m.Set(limits)
}

// limits translates limits for either version of cgroups.
func (t cgroupTree) limits(res kubelet.Resources) *cgroups.Resources {
	out := &cgroups.Resources{
		CpuQuota: res.CPUQuota, CpuPeriod: res.CPUPeriod, Memory: res.MemoryLimit,
	}
	v2 := cgroups.IsCgroup2UnifiedMode()
	if v2 {
		out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(res.CPUShares)
	} else {
		out.CpuShares = res.CPUShares
	}
	if res.MemoryLimit > 0 && t.swap {
		out.MemorySwap = res.MemoryLimit // no swap
	}
	if res.MemoryLimit > 0 && v2 {
		// One process that is killed for want of memory takes the container with it.
		out.Unified = map[string]string{"memory.oom.group": "1"}
	}
	if res.PidsLimit > 0 {
		out.PidsLimit = &res.PidsLimit
	}
	for size, limit := range res.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: size, Limit: limit})
	}
	return out
}

// removeAll kills all processes of the tree and removes it.
func (t cgroupTree) removeAll() error {
	var errs []error
	for _, dir := range t.dirs {
		errs = append(errs, removeCgroup(dir))
	}
	for _, dir := range t.made {
		_ = unix.Rmdir(dir) // unless others have come to use it
	}
	return errors.Join(errs...)
}

const cgroupPatience = 2 * time.Second

// removeCgroup kills what runs in a cgroup and below, and removes it. A process that was killed
// stays in its cgroup until it is gone for good, so that this may take a few attempts.
func removeCgroup(dir string) error {
	for deadline, wait := time.Now().Add(cgroupPatience), time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := tryRemoveCgroup(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}

func tryRemoveCgroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- { // the deepest first
		killCgroup(dirs[i])
		if err := unix.Rmdir(dirs[i]); err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "remove cgroup", Path: dirs[i], Err: err}
		}
	}
	return nil
}

func killCgroup(dir string) {
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for f := range strings.FieldsSeq(string(data)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
