package runc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/inboard/inboard/internal/news"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
	"github.com/inboard/inboard/kubelet/network"
)

// Runtime is a kubelet.Runtime of real containers.
type Runtime struct {
	cfg      Config
	state    *stateDir
	images   *image.Store
	net      *network.Network
	cgroups  cgroupTree
	starters *starters
	news     *news.Queue

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc

	mu         sync.Mutex
	closed     bool
	sandboxes  map[string]*sandbox
	containers map[string]*container
	working    sync.WaitGroup // calls and watchers that Close waits for
}

var _ kubelet.Runtime = (*Runtime)(nil)

var errClosed = errors.New("runc: the runtime is closed")

// Open makes a runtime, after it has removed what an earlier program left in the same directory.
// It needs root, and runc.Init called in main.
func Open(cfg Config) (*Runtime, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := checkProgram(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Runtime{
		cfg: cfg, ctx: ctx, cancel: cancel,
		starters: startStarters(), news: news.Open(),
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{},
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Runtime) open() (err error) {
	if r.state, err = openState(r.cfg); err != nil {
		return err
	}
	if r.cgroups, err = openCgroups(r.cfg.CgroupParent, r.state.mark); err != nil {
		return err
	}
	ic := r.cfg.Images
	if ic.Dir == "" {
		ic.Dir = r.state.path("images")
	}
	if r.images, err = image.Open(ic); err != nil {
		return err
	}
	r.net, err = network.Open(network.Config{
		Owner: r.state.dir, Bridge: r.cfg.Bridge, PodCIDR: r.cfg.PodCIDR, MTU: r.cfg.MTU,
		NoMasquerade: r.cfg.NoMasquerade, Logger: r.cfg.Logger,
	})
	return err
}

// Info implements kubelet.Runtime.
func (r *Runtime) Info() kubelet.RuntimeInfo {
	return kubelet.RuntimeInfo{Name: "inboard-runc", Version: libcontainerVersion, Privileged: true}
}

// Images returns the store of images, to import into.
func (r *Runtime) ImageStore() *image.Store { return r.images }

// PullImage implements kubelet.Runtime.
func (r *Runtime) PullImage(ctx context.Context, ref string, auth kubelet.Auth, progress func(kubelet.PullProgress)) (kubelet.Image, error) {
	ctx, done, err := r.enter(ctx)
	if err != nil {
		return kubelet.Image{}, err
	}
	defer done()
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
	var out []kubelet.Image
	for _, img := range r.images.Images() {
		out = append(out, img.Image)
	}
	return out, nil
}

// RemoveImage implements kubelet.Runtime. Running containers keep the layers they use.
func (r *Runtime) RemoveImage(_ context.Context, id string) error { return r.images.Remove(id) }

// Events implements kubelet.Runtime.
func (r *Runtime) Events() <-chan string { return r.news.Out() }

// enter counts a call that Close waits for; its context ends when Close begins.
func (r *Runtime) enter(ctx context.Context) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, errClosed
	}
	r.working.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { stop(); cancel(); r.working.Done() }, nil
}

// Close implements kubelet.Runtime: no process, mount, cgroup, namespace, link or rule is left.
func (r *Runtime) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	var all []*sandbox
	for _, sb := range r.sandboxes {
		all = append(all, sb)
	}
	r.mu.Unlock()
	r.cancel()
	began := time.Now()
	errs := r.closeSandboxes(all)
	r.working.Wait()
	if r.net != nil {
		errs = append(errs, r.net.Close())
	}
	if r.images != nil {
		errs = append(errs, r.images.Close())
	}
	if r.cgroups.parent != "" {
		errs = append(errs, r.cgroups.removeAll())
	}
	if r.state != nil {
		errs = append(errs, r.state.close())
	}
	r.starters.stop()
	r.news.Close()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("runc: close: %w", err)
	}
	r.cfg.Logger.Debug("closed the container runtime", "took", time.Since(began))
	return nil
}

func (r *Runtime) closeSandboxes(all []*sandbox) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, sb := range all {
		wg.Go(func() { errs[i] = r.removeSandbox(context.Background(), sb) })
	}
	wg.Wait()
	return errs
}
