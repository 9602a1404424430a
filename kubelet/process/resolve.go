//go:build linux

package process

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// layers looks files up in an image's layers, the base first, as if they were stacked.
type layers []string

// maxLinks bounds the symbolic links that a lookup follows, as the kernel does.
const maxLinks = 40

// find returns the path on the host of an absolute path of the image.
func (l layers) find(name string) (string, fs.FileInfo, error) {
	left := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at, links := "/", 0
	host, info, err := l.entry(at)
	for len(left) > 0 && left[0] != "" {
		if err != nil {
			return "", nil, err
		}
		next := path.Join(at, left[0])
		left = left[1:]
		if host, info, err = l.entry(next); err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("too many symbolic links in %s", name)
		}
		target, rerr := os.Readlink(host)
		if rerr != nil {
			return "", nil, rerr
		}
		if !path.IsAbs(target) {
			target = path.Join(at, target)
		}
		left = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), left...)
		at = "/"
		host, info, err = l.entry(at)
	}
	return host, info, err
}

// entry returns what the topmost layer that has name holds there. The folders above it have been
// resolved; none is a link.
func (l layers) entry(name string) (string, fs.FileInfo, error) {
	for i := len(l) - 1; i >= 0; i-- {
		host := filepath.Join(l[i], name)
		info, err := os.Lstat(host)
		switch {
		case err == nil && whiteout(info):
			return "", nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
		case err == nil:
			return host, info, nil
		case l.hidden(i, name):
			return "", nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
		}
	}
	return "", nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
}

// hidden tells that layer i hides what lower layers have at name: a folder above it is opaque or
// no folder at all.
func (l layers) hidden(i int, name string) bool {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		host := filepath.Join(l[i], dir)
		if info, err := os.Lstat(host); err == nil && (!info.IsDir() || opaque(host)) {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}

func whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

func opaque(dir string) bool {
	var b [1]byte
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Lgetxattr(dir, name, b[:]); err == nil && n == 1 && b[0] == 'y' {
			return true
		}
	}
	return false
}

// program returns the path on the host of a container's program: in the image, by its path or, for
// a bare name, in the folders of PATH.
func (l layers) program(name, pathVar, workDir string) (string, error) {
	var tries []string
	switch {
	case path.IsAbs(name):
		tries = []string{name}
	case strings.Contains(name, "/"):
		tries = []string{path.Join("/", workDir, name)}
	default:
		for _, dir := range filepath.SplitList(pathVar) {
			if path.IsAbs(dir) {
				tries = append(tries, path.Join(dir, name))
			}
		}
	}
	for _, t := range tries {
		host, info, err := l.find(t)
		switch {
		case err != nil:
		case info.Mode().IsRegular() && info.Mode()&0o111 != 0:
			return host, nil
		case path.IsAbs(name):
			return "", fmt.Errorf("exec: %q: permission denied", name)
		}
	}
	if strings.Contains(name, "/") {
		return "", fmt.Errorf("exec: %q: stat %s: no such file or directory", name, tries[0])
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
