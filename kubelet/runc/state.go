package runc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateDir is the directory of a Runtime. Below "run" in it is all that a Runtime mounts, so that
// all of it can be detached at once.
type stateDir struct {
	dir  string
	mark string // tells this directory's cgroups from those of others
	temp bool
	lock *os.File
}

const tempPattern = "inboard-runc-"

func openState(cfg Config) (*stateDir, error) {
	removeAbandoned(cfg)
	s, err := makeState(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.reset(cfg); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// makeState makes and locks the directory.
func makeState(cfg Config) (*stateDir, error) {
	if cfg.Dir == "" {
		return makeTempState()
	}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("runc: Config.Dir: %w", err)
	}
	// libcontainer refuses links in a root file system's path.
	real, err := filepath.Abs(cfg.Dir)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, fmt.Errorf("runc: Config.Dir: %w", err)
	}
	lock, err := lockDir(real)
	if err != nil {
		return nil, err
	}
	return &stateDir{dir: real, mark: markOf(real), lock: lock}, nil
}

// makeTempState tries again when another program has taken the directory for an abandoned one,
// before it was locked.
func makeTempState() (*stateDir, error) {
	for attempt := 0; ; attempt++ {
		dir, err := os.MkdirTemp("", tempPattern)
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("runc: no temporary directory for the runtime's state: %w", err)
		}
		lock, err := lockDir(dir)
		if err == nil {
			if _, err = os.Stat(lock.Name()); err == nil {
				return &stateDir{dir: dir, mark: markOf(dir), temp: true, lock: lock}, nil
			}
			lock.Close()
		}
		if attempt == 3 {
			return nil, fmt.Errorf("runc: no temporary directory for the runtime's state: %w", err)
		}
	}
}

// markOf is a short name for a directory.
func markOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("runc: Config.Dir: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("runc: the directory %s is in use by another process: stop it, or choose another directory", dir)
	}
	return f, nil
}

// reset removes what an earlier program left in the directory, and prepares it.
func (s *stateDir) reset(cfg Config) error {
	tree, err := openCgroups(cfg.CgroupParent, s.mark)
	if err != nil {
		return err
	}
	if err := tree.removeAll(); err != nil {
		return fmt.Errorf("runc: kill the containers of an earlier program: %w", err)
	}
	run := s.path("run")
	if err := detach(run); err != nil {
		return fmt.Errorf("runc: detach the mounts of an earlier program: %w", err)
	}
	if err := os.RemoveAll(run); err != nil {
		return fmt.Errorf("runc: remove the state of an earlier program: %w", err)
	}
	for _, d := range []string{run, filepath.Join(run, "sandboxes"), filepath.Join(run, "containers"), filepath.Join(run, "libcontainer")} {
		if err := os.Mkdir(d, 0o711); err != nil {
			return fmt.Errorf("runc: %w", err)
		}
	}
	// A mount point of its own, and private: nothing below is copied to other mount namespaces
	// by propagation, and detaching it detaches everything.
	if err := unix.Mount(run, run, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("runc: make %s a mount point (this needs root): %w", run, err)
	}
	if err := unix.Mount("", run, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("runc: make the mounts below %s private: %w", run, err)
	}
	return nil
}

func (s *stateDir) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// close removes what is in the directory, unless something is still mounted there: it may lead to
// files of others.
func (s *stateDir) close() error {
	err := detach(s.path("run"))
	if err == nil {
		err = os.RemoveAll(s.path("run"))
	}
	if err == nil && s.temp {
		err = os.RemoveAll(s.dir)
	}
	return errors.Join(err, s.lock.Close())
}

// detach unmounts all that is mounted at dir, and below it.
func detach(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil // no mount point
		case err != nil:
			return &os.PathError{Op: "unmount", Path: dir, Err: err}
		}
	}
}

// newID is a random identifier, as long as containerd's.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
