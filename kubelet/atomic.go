package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dataLink is the symbolic link that a volume's files are reached through; replacing it replaces
// them all at once. Programs that watch their configuration rely on its name.
const dataLink = "..data"

// file is one file of a volume that is made from API objects.
type file struct {
	Data []byte
	Mode fs.FileMode
}

// payload are the files of a volume by their path in it.
type payload map[string]file

// checkPath refuses paths that leave the volume or hide its links.
func checkPath(p string) error {
	if p == "" || filepath.IsAbs(p) || !filepath.IsLocal(p) {
		return fmt.Errorf("path %q must be relative and stay in the volume", p)
	}
	if strings.HasPrefix(p, "..") {
		return fmt.Errorf("path %q must not begin with '..'", p)
	}
	return nil
}

// writeAtomic makes dir show the payload, all of it at one moment: the files are written to a new
// folder, which the link ..data is then turned to. It reports whether anything changed.
func writeAtomic(dir string, files payload) (bool, error) {
	for p := range files {
		if err := checkPath(p); err != nil {
			return false, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	link := filepath.Join(dir, dataLink)
	old, err := os.Readlink(link)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if old != "" && same(filepath.Join(dir, old), files) {
		return false, nil
	}
	fresh, err := os.MkdirTemp(dir, "..data_")
	if err != nil {
		return false, err
	}
	if err := fill(fresh, files); err != nil {
		return false, errors.Join(err, os.RemoveAll(fresh))
	}
	tmp := link + "_tmp"
	_ = os.Remove(tmp)
	if err := os.Symlink(filepath.Base(fresh), tmp); err != nil {
		return false, err
	}
	if err := os.Rename(tmp, link); err != nil {
		return false, err
	}
	if err := linkNames(dir, files); err != nil {
		return false, err
	}
	if old != "" {
		err = os.RemoveAll(filepath.Join(dir, old))
	}
	return true, err
}

func fill(dir string, files payload) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for p, f := range files {
		path := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(path, f.Mode); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// linkNames makes the names at the top of the payload links through ..data, and removes others.
func linkNames(dir string, files payload) error {
	want := map[string]bool{}
	for p := range files {
		top, _, _ := strings.Cut(p, "/")
		want[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case want[e.Name()]:
			delete(want, e.Name())
		case !strings.HasPrefix(e.Name(), ".."):
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for name := range want {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// same tells whether dir holds exactly the payload.
func same(dir string, files payload) bool {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, ok := files[rel]
		info, ierr := d.Info()
		have, rerr := os.ReadFile(path)
		if !ok || ierr != nil || rerr != nil || string(have) != string(want.Data) || info.Mode().Perm() != want.Mode {
			return fs.ErrInvalid
		}
		n++
		return nil
	})
	return err == nil && n == len(files)
}
