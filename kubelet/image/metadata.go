package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const xattrRecord = "SCHILY.xattr."

// metadata sets owner, mode, extended attributes and times, in this order: a change of owner clears
// set-user-ID bits and capabilities.
func (u *unpacker) metadata(target string, h *tar.Header) error {
	if h.Typeflag == tar.TypeChar {
		return nil // a whiteout
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(target, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(unix.AT_FDCWD, target, uint32(h.Mode&0o7777), 0); err != nil {
			return &os.PathError{Op: "chmod", Path: target, Err: err}
		}
		if err := setXattrs(target, h.PAXRecords); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		u.times = append(u.times, dirTime{target, h.ModTime})
		return nil
	}
	return setTime(target, h.ModTime)
}

// setXattrs keeps file capabilities and users' attributes. The others are the node's own affair,
// and overlayfs's ("trusted.overlay.", "user.overlay.") would let a layer redirect directories.
func setXattrs(target string, records map[string]string) error {
	for key, value := range records {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		keep := name == "security.capability" && os.Geteuid() == 0 ||
			strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
		if !keep {
			continue
		}
		err := unix.Lsetxattr(target, name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("set extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func setTime(target string, t time.Time) error {
	if t.IsZero() || t.Unix() < 0 {
		t = time.Unix(0, 0)
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return nil // out of this machine's range
	}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, target, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "utimensat", Path: target, Err: err}
	}
	return nil
}

// whiteout hides what lower layers have. What this layer itself holds stays, in whichever order
// the entries come.
func (u *unpacker) whiteout(dir, base string) error {
	if base == opaqueMarker {
		return makeOpaque(dir)
	}
	if strings.HasPrefix(base, aufsPrefix) {
		return nil // bookkeeping of aufs
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%w: malformed whiteout", ErrUnsafeLayer)
	}
	target := filepath.Join(dir, name)
	fi, err := os.Lstat(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return makeWhiteout(target)
	case err != nil:
		return err
	case fi.IsDir():
		return makeOpaque(target)
	}
	return nil
}

func makeWhiteout(target string) error {
	if err := unix.Mknod(target, unix.S_IFCHR, 0); err != nil {
		return &os.PathError{Op: "mknod whiteout", Path: target, Err: err}
	}
	return nil
}

func isWhiteout(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// replaceWhiteout makes a directory where the same layer deleted something: it hides what lower
// layers have below that name.
func (u *unpacker) replaceWhiteout(target string) error {
	if err := os.Remove(target); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	return makeOpaque(target)
}

// makeOpaque uses the attribute that overlayfs reads: "trusted." is root's, "user." is for mounts
// with the option userxattr.
func makeOpaque(dir string) error {
	name := "trusted.overlay.opaque"
	if os.Geteuid() != 0 {
		name = "user.overlay.opaque"
	}
	if err := unix.Lsetxattr(dir, name, []byte("y"), 0); err != nil {
		return &os.PathError{Op: "set " + name, Path: dir, Err: err}
	}
	return nil
}
