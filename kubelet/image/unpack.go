package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// ErrUnsafeLayer means that a layer holds something that no honest layer does.
var ErrUnsafeLayer = errors.New("unsafe layer")

// unpacker unpacks one layer's tar below root, in the form that overlayfs wants: a whiteout is a
// character device 0/0, an opaque directory has an extended attribute. The directory is private
// to it while it works, so that looking at a path and then using it is safe.
type unpacker struct {
	root       string
	maxBytes   int64
	maxEntries int
	plain      bool // an ordinary archive: no whiteouts, owners or times

	bytes   int64
	entries int
	dirs    map[string]string // directories by name in the tar, resolved within root
	times   []dirTime         // set at the end, because filling a directory changes its time
}

type dirTime struct {
	path string
	time time.Time
}

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh."
	maxPathBytes   = 4095
)

func (u *unpacker) unpack(r io.Reader) error {
	u.dirs = map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("malformed archive: %w", err)
		}
		if u.entries++; u.entries > u.maxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrUnsafeLayer, u.maxEntries)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}

// finish sets the directories' times, the deepest first.
func (u *unpacker) finish() error {
	for i := len(u.times) - 1; i >= 0; i-- {
		if err := setTime(u.times[i].path, u.times[i].time); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// cleanName checks a name of an entry or of a hard link's target and returns it relative to the
// root, "." for the root itself.
func cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) || len(name) > maxPathBytes {
		return "", fmt.Errorf("%w: malformed name", ErrUnsafeLayer)
	}
	if path.IsAbs(name) {
		return "", fmt.Errorf("%w: absolute name", ErrUnsafeLayer)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: name leads out of the image's root", ErrUnsafeLayer)
		}
	}
	return path.Clean(name), nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%w: the root must be a directory", ErrUnsafeLayer)
		}
		if u.plain {
			return nil
		}
		return u.metadata(u.root, h)
	}
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteoutPrefix) && !u.plain {
		return u.whiteout(dir, base)
	}
	target := filepath.Join(dir, base)
	if err := u.clear(target, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	if err := u.create(target, h, content); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink || u.plain {
		return nil // a link shares the metadata of its target
	}
	return u.metadata(target, h)
}

// parent returns the real directory of a name's directory, made if it is missing. Symbolic links
// of the layer are followed as if root were the root directory.
func (u *unpacker) parent(name string) (string, error) {
	if name == "." {
		return u.root, nil
	}
	if dir, ok := u.dirs[name]; ok {
		return dir, nil
	}
	dir, err := securejoin.SecureJoin(u.root, name)
	if err != nil {
		return "", err
	}
	if err := u.mkdirAll(dir); err != nil {
		return "", err
	}
	u.dirs[name] = dir
	return dir, nil
}

// mkdirAll makes directories that the archive left out. A link that leads nowhere may have led
// SecureJoin to a path whose parents are missing too.
func (u *unpacker) mkdirAll(dir string) error {
	fi, err := os.Lstat(dir)
	switch {
	case err == nil && fi.IsDir():
		return nil
	case err == nil && isWhiteout(fi):
		return u.replaceWhiteout(dir)
	case err == nil:
		return fmt.Errorf("%w: a parent of the name is no directory", ErrUnsafeLayer)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := u.mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

// clear makes way for an entry: what an earlier entry put there goes, but a directory may be
// given again, keeping its content.
func (u *unpacker) clear(target string, wantDir bool) error {
	fi, err := os.Lstat(target)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.IsDir() && wantDir {
		return nil
	}
	u.dirs = map[string]string{}
	if isWhiteout(fi) && wantDir {
		return u.replaceWhiteout(target)
	}
	return os.RemoveAll(target)
}

func (u *unpacker) create(target string, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.regular(target, h, content)
	case tar.TypeSymlink:
		u.dirs = map[string]string{}
		if h.Linkname == "" || strings.ContainsRune(h.Linkname, 0) {
			return fmt.Errorf("%w: malformed link", ErrUnsafeLayer)
		}
		return os.Symlink(h.Linkname, target)
	case tar.TypeLink:
		return u.hardLink(target, h.Linkname)
	case tar.TypeFifo:
		return unix.Mkfifo(target, 0o600)
	case tar.TypeChar:
		if h.Devmajor == 0 && h.Devminor == 0 {
			return makeWhiteout(target)
		}
		return fmt.Errorf("%w: character device %d:%d: device nodes are not unpacked from images", ErrUnsafeLayer, h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		return fmt.Errorf("%w: block device %d:%d: device nodes are not unpacked from images", ErrUnsafeLayer, h.Devmajor, h.Devminor)
	}
	return fmt.Errorf("%w: unknown type %q", ErrUnsafeLayer, h.Typeflag)
}

func (u *unpacker) regular(target string, h *tar.Header, content io.Reader) error {
	if h.Size > u.maxBytes-u.bytes {
		return fmt.Errorf("%w: unpacks to more than %d bytes", ErrUnsafeLayer, u.maxBytes)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, u.maxBytes-u.bytes+1))
	u.bytes += n
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && u.bytes > u.maxBytes {
		err = fmt.Errorf("%w: unpacks to more than %d bytes", ErrUnsafeLayer, u.maxBytes)
	}
	return err
}

// hardLink links to an earlier entry. The target's last component is not followed: linking to a
// symbolic link links the link itself.
func (u *unpacker) hardLink(target, linkname string) error {
	name, err := cleanName(strings.TrimPrefix(linkname, "/"))
	if err != nil {
		return fmt.Errorf("link to %q: %w", linkname, err)
	}
	dir, err := securejoin.SecureJoin(u.root, path.Dir(name))
	if err != nil {
		return err
	}
	old := filepath.Join(dir, path.Base(name))
	fi, err := os.Lstat(old)
	if err != nil {
		return fmt.Errorf("%w: hard link to %q, which is not in this layer", ErrUnsafeLayer, linkname)
	}
	if fi.IsDir() {
		return fmt.Errorf("%w: hard link to the directory %q", ErrUnsafeLayer, linkname)
	}
	return os.Link(old, target)
}
