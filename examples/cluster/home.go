package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// tempPattern names the temporary directories of clusters in memory. "lock" in one is locked while its
// cluster lives.
const tempPattern = "inboard-cluster-"

// makeHome finds or makes the directory of all files. What it returns removes a temporary one.
func (c *cluster) makeHome() (remove func() error, err error) {
	if c.dir != "" {
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return nil, fmt.Errorf("-dir: %w; choose a directory that can be written to", err)
		}
		c.home, err = filepath.Abs(c.dir)
		return func() error { return nil }, err
	}
	if c.home, err = os.MkdirTemp("", tempPattern); err != nil {
		return nil, fmt.Errorf("no temporary directory: %w; give one with -dir", err)
	}
	lock, err := lockHome(c.home, os.O_CREATE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the temporary directory can't be locked: %w", err), os.RemoveAll(c.home))
	}
	return func() error { return errors.Join(removeHome(c.home), lock.Close()) }, nil
}

// lockHome fails at once when another program holds the lock.
func lockHome(dir string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeHome removes a temporary directory. What is mounted in it may be of others, so nothing is removed
// while something is.
func removeHome(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(points) {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("%s is left, as %s can't be unmounted: %w", dir, p, err)
		}
	}
	return os.RemoveAll(dir)
}

// ownDir tells that a path is a directory, not a link to one, that belongs to the user of this program.
func ownDir(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// sweepHomes removes the directories of clusters that were killed. The container runtime has taken its
// own part of them away before; where it hasn't, they stay until it does.
func (c *cluster) sweepHomes() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern+"*"))
	for _, dir := range dirs {
		if !ownDir(dir) {
			continue // anyone can make such a name in a shared directory
		}
		lock, err := lockHome(dir, 0)
		if err != nil {
			continue // it lives, or is somebody else's
		}
		points, err := mountsBelow(filepath.Join(dir, "kubelet", "runc"))
		if err == nil && len(points) == 0 {
			err = removeHome(dir)
			c.log.Info("removed what a cluster that was killed left", "dir", dir, "error", err)
		}
		lock.Close()
	}
}

// mountsBelow are the places of all mounts at and below dir, in the order in which they were made.
func mountsBelow(dir string) ([]string, error) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if p := unescape.Replace(fields[4]); p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	return points, lines.Err()
}
