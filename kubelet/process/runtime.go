//go:build linux

package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/internal/news"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
)

// Runtime runs pods as processes of the host. Make it with Open.
type Runtime struct {
	cfg     Config
	images  *image.Store
	dir     string
	temp    bool
	news    *news.Queue
	starter *starter
	lock    *os.File

	mu         sync.Mutex
	closed     bool
	sandboxes  map[string]*sandbox
	containers map[string]*container
	ips        map[netip.Addr]bool
	lastIP     netip.Addr
	running    sync.WaitGroup
}

var _ kubelet.Runtime = (*Runtime)(nil)

var errClosed = errors.New("process: the runtime is closed")

// Open makes a Runtime, and kills what a predecessor in the same Dir left running. The error names
// the field of cfg that is wrong, or says that another program uses Dir.
func Open(cfg Config) (_ *Runtime, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Runtime{cfg: cfg, sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, ips: map[netip.Addr]bool{}}
	if err := r.openDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeDir())
		}
	}()
	icfg := cfg.Images
	if icfg.Dir == "" {
		icfg.Dir = filepath.Join(r.dir, "images")
	}
	if r.images, err = image.Open(icfg); err != nil {
		return nil, err
	}
	r.news, r.starter = news.Open(), newStarter()
	return r, nil
}

// openDir makes the folders, takes the lock and clears what a predecessor left.
func (r *Runtime) openDir() (err error) {
	r.dir = r.cfg.Dir
	if r.dir == "" {
		r.temp = true
		if r.dir, err = os.MkdirTemp("", "inboard-process-"); err != nil {
			return fmt.Errorf("process: %w", err)
		}
	}
	if r.dir, err = filepath.Abs(r.dir); err != nil {
		return fmt.Errorf("process: Config.Dir: %w", err)
	}
	if err := os.MkdirAll(r.containerDir(""), 0o755); err != nil {
		return fmt.Errorf("process: can't use Config.Dir: %w", err)
	}
	if r.lock, err = os.OpenFile(filepath.Join(r.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("process: can't use Config.Dir: %w", err)
	}
	if err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("process: Config.Dir %s is in use by another program", r.dir), r.lock.Close())
	}
	old, err := os.ReadDir(r.containerDir(""))
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, e := range old {
		ids[e.Name()] = true
	}
	if n := sweep(ids); n > 0 {
		r.cfg.Logger.Warn("killed processes that an earlier program left", "count", n)
	}
	if err := os.RemoveAll(r.containerDir("")); err != nil {
		return err
	}
	return os.MkdirAll(r.containerDir(""), 0o755)
}

func (r *Runtime) closeDir() error {
	err := errors.Join(os.RemoveAll(r.containerDir("")), r.lock.Close())
	if r.temp {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}

func (r *Runtime) containerDir(id string) string { return filepath.Join(r.dir, "containers", id) }

// Info implements kubelet.Runtime.
func (r *Runtime) Info() kubelet.RuntimeInfo {
	return kubelet.RuntimeInfo{Name: "process", Version: "1.0.0"}
}

// ImageStore returns the store of images, to which images can be added without a registry.
func (r *Runtime) ImageStore() *image.Store { return r.images }

// PullImage implements kubelet.Runtime.
func (r *Runtime) PullImage(ctx context.Context, ref string, auth kubelet.Auth, progress func(kubelet.PullProgress)) (kubelet.Image, error) {
	img, err := r.images.Pull(ctx, ref, auth, progress)
	return img.Image, err
}

// Image implements kubelet.Runtime.
func (r *Runtime) Image(_ context.Context, ref string) (kubelet.Image, error) {
	img, err := r.images.Image(ref)
	return img.Image, err
}

// Images implements kubelet.Runtime.
func (r *Runtime) Images(context.Context) ([]kubelet.Image, error) {
	list := r.images.Images()
	out := make([]kubelet.Image, len(list))
	for i, img := range list {
		out[i] = img.Image
	}
	return out, nil
}

// RemoveImage implements kubelet.Runtime.
func (r *Runtime) RemoveImage(_ context.Context, id string) error { return r.images.Remove(id) }

// Events implements kubelet.Runtime.
func (r *Runtime) Events() <-chan string { return r.news.Out() }

// Close kills all containers and removes their state. It may be called again.
func (r *Runtime) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	ids := make([]string, 0, len(r.sandboxes))
	for id := range r.sandboxes {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, r.removeSandbox(id))
	}
	r.running.Wait()
	r.starter.close()
	r.news.Close()
	errs = append(errs, r.images.Close(), r.closeDir())
	return errors.Join(errs...)
}

func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func notFound(what, id string) error {
	return fmt.Errorf("process: %s %.12s: %w", what, id, kubelet.ErrNotFound)
}

// killWait bounds how long a killed process may take to be gone.
const killWait = 5 * time.Second
