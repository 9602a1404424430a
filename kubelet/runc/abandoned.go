package runc

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/inboard/inboard/kubelet/network"
)

// removeAbandoned removes what programs that were killed left in the kernel: nobody holds the lock of
// their directory. Their bridge would keep its addresses from ours. Temporary directories go too; of
// others the images stay.
func removeAbandoned(cfg Config) {
	own, err := filepath.Abs(cfg.Dir)
	if real, linkErr := filepath.EvalSymlinks(own); linkErr == nil {
		own = real
	}
	for _, dir := range stateDirs() {
		if cfg.Dir != "" && err == nil && dir == own {
			continue // makeState's
		}
		lock, err := lockDir(dir)
		if err != nil {
			continue
		}
		temp := strings.HasPrefix(filepath.Base(dir), tempPattern)
		s := &stateDir{dir: dir, mark: markOf(dir), temp: temp, lock: lock}
		err = errors.Join(s.reset(cfg), network.Purge(network.Config{Owner: dir}), s.close())
		cfg.Logger.Info("removed what a program that was killed left", "dir", dir, "err", err)
	}
}

// stateDirs are the directories in which a Runtime has mounts, or had them when it was killed, and all
// temporary ones.
func stateDirs() []string {
	var dirs []string
	seen := map[string]bool{}
	add := func(dir string) {
		if !seen[dir] && isRegular(filepath.Join(dir, "lock")) {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	temps, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern+"*"))
	for _, dir := range temps {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			add(real) // one without a lock is just being made
		}
	}
	for _, point := range mountPoints() {
		dir, ok := strings.CutSuffix(point, "/run")
		if ok && isDir(filepath.Join(point, "sandboxes")) && isDir(filepath.Join(point, "libcontainer")) {
			add(dir)
		}
	}
	return dirs
}

func isRegular(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// mountPoints are the places of all mounts.
func mountPoints() []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	return points
}
