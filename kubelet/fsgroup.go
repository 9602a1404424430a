package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// fsGroupOf returns the group that owns the pod's volumes, or -1. Without root nothing can be given
// away, and containers run under the program's own user anyway.
func fsGroupOf(pod *corev1.Pod) int {
	sc := pod.Spec.SecurityContext
	if sc == nil || sc.FSGroup == nil || os.Geteuid() != 0 {
		return -1
	}
	return int(*sc.FSGroup)
}

// readable lets the group read files that only their owner may.
func (p payload) readable() {
	for name, f := range p {
		f.Mode |= f.Mode & 0o400 >> 3
		p[name] = f
	}
}

// giveToGroup gives all of a volume to a group; with write, the group may also change it, and new
// files get the group, too.
func giveToGroup(dir string, gid int, write bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, gid); err != nil {
			return err
		}
		info, err := d.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && d.Type()&fs.ModeSymlink != 0:
			return nil
		case err != nil || !write:
			return err
		case d.IsDir():
			return os.Chmod(path, info.Mode()|0o070|fs.ModeSetgid)
		default:
			return os.Chmod(path, info.Mode()|0o060)
		}
	})
}
