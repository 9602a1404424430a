package runc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/inboard/inboard/kubelet"
)

// sandbox is a pod's surroundings.
type sandbox struct {
	id      string
	cfg     kubelet.SandboxConfig
	dir     string
	created time.Time

	// life makes stopping and removing one at a time.
	life   sync.Mutex
	cgroup cgroups.Manager

	// Held under Runtime.mu.
	ips        []netip.Addr
	ready      bool
	gone       bool // being removed: no new containers
	containers []*container
}

// RunSandbox implements kubelet.Runtime.
func (r *Runtime) RunSandbox(ctx context.Context, cfg kubelet.SandboxConfig) (kubelet.Sandbox, error) {
	ctx, done, err := r.enter(ctx)
	if err != nil {
		return kubelet.Sandbox{}, err
	}
	defer done()
	if cfg.UID == "" {
		return kubelet.Sandbox{}, errors.New("runc: SandboxConfig.UID must be set")
	}
	sb := &sandbox{id: newID(), cfg: cfg, created: time.Now()}
	sb.dir = r.state.path("run", "sandboxes", sb.id)
	if err := r.makeSandbox(ctx, sb); err != nil {
		return kubelet.Sandbox{}, errors.Join(fmt.Errorf("make the sandbox of pod %s/%s: %w", cfg.Namespace, cfg.Name, err), r.clearSandbox(sb))
	}
	if !r.registerSandbox(sb) {
		return kubelet.Sandbox{}, errors.Join(errClosed, r.clearSandbox(sb))
	}
	return r.Sandbox(ctx, sb.id)
}

// registerSandbox fails when Close has begun, which then does not see the sandbox.
func (r *Runtime) registerSandbox(sb *sandbox) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	sb.ready = true
	r.sandboxes[sb.id] = sb
	return true
}

func (r *Runtime) makeSandbox(ctx context.Context, sb *sandbox) (err error) {
	if err := os.MkdirAll(filepath.Join(sb.dir, "ns"), 0o711); err != nil {
		return err
	}
	if sb.cfg.LogDir != "" {
		if err := os.MkdirAll(sb.cfg.LogDir, 0o755); err != nil {
			return fmt.Errorf("make the log directory: %w", err)
		}
	}
	if sb.cgroup, err = r.cgroups.makePod(sb.cfg.UID, sb.cfg.Resources); err != nil {
		return fmt.Errorf("make the pod's cgroup: %w", err)
	}
	ns := podNamespaces{
		dir: filepath.Join(sb.dir, "ns"), net: !sb.cfg.HostNetwork, ipc: !sb.cfg.HostIPC,
		uts: !sb.cfg.HostNetwork, hostname: sb.cfg.Hostname, sysctls: sb.cfg.Sysctls,
	}
	if err := ns.make(); err != nil {
		return err
	}
	if err := sb.writeFiles(); err != nil {
		return err
	}
	if sb.cfg.HostNetwork {
		return ctx.Err()
	}
	addr, err := r.net.Attach(ctx, sb.id, sb.nsPath(netNS), sb.cfg.HostPorts)
	if err != nil {
		return err
	}
	sb.ips = []netip.Addr{addr}
	return nil
}

const shmBytes = 64 << 20

// writeFiles makes the files and the shared memory that the pod's containers have in common.
func (sb *sandbox) writeFiles() error {
	hostname := sb.cfg.Hostname
	if sb.cfg.HostNetwork {
		hostname, _ = os.Hostname()
	}
	if err := os.WriteFile(filepath.Join(sb.dir, "hostname"), []byte(hostname+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(sb.dir, "resolv.conf"), []byte(resolvConf(sb.cfg.DNS)), 0o644); err != nil {
		return err
	}
	if sb.cfg.HostIPC {
		return nil
	}
	shm := filepath.Join(sb.dir, "shm")
	if err := os.Mkdir(shm, 0o1777); err != nil {
		return err
	}
	err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=1777,size=%d", shmBytes))
	if err != nil {
		return fmt.Errorf("mount the pod's shared memory: %w", err)
	}
	return nil
}

// resolvConf is empty when there is nothing to say; the node's file is used then.
func resolvConf(dns kubelet.DNSConfig) string {
	var b strings.Builder
	if len(dns.Searches) > 0 {
		fmt.Fprintln(&b, "search", strings.Join(dns.Searches, " "))
	}
	for _, s := range dns.Servers {
		fmt.Fprintln(&b, "nameserver", s)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintln(&b, "options", strings.Join(dns.Options, " "))
	}
	return b.String()
}

func (sb *sandbox) nsPath(k namespaceKind) string { return filepath.Join(sb.dir, "ns", k.name) }

// StopSandbox implements kubelet.Runtime.
func (r *Runtime) StopSandbox(ctx context.Context, id string) error {
	sb, done, err := r.enterSandbox(ctx, id)
	if sb == nil {
		return err
	}
	defer done()
	return r.stopSandbox(ctx, sb)
}

// RemoveSandbox implements kubelet.Runtime.
func (r *Runtime) RemoveSandbox(ctx context.Context, id string) error {
	sb, done, err := r.enterSandbox(ctx, id)
	if sb == nil {
		return err
	}
	defer done()
	return r.removeSandbox(ctx, sb)
}

// enterSandbox returns nil for a sandbox that is gone.
func (r *Runtime) enterSandbox(ctx context.Context, id string) (*sandbox, func(), error) {
	r.mu.Lock()
	sb := r.sandboxes[id]
	r.mu.Unlock()
	if sb == nil {
		return nil, nil, nil
	}
	_, done, err := r.enter(ctx)
	if errors.Is(err, errClosed) {
		return nil, nil, nil // Close removes it
	}
	return sb, done, err
}

// stopSandbox kills the containers and frees the address.
func (r *Runtime) stopSandbox(ctx context.Context, sb *sandbox) error {
	sb.life.Lock()
	defer sb.life.Unlock()
	r.mu.Lock()
	sb.ready = false
	all := append([]*container(nil), sb.containers...)
	r.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = r.stopContainer(ctx, c, 0) })
	}
	wg.Wait()
	errs = append(errs, r.disconnect(sb))
	return errors.Join(errs...)
}

// disconnect frees the address and lets the namespaces go; the kernel removes what is in them.
func (r *Runtime) disconnect(sb *sandbox) error {
	var errs []error
	if r.net != nil {
		errs = append(errs, r.net.Detach(sb.id))
	}
	for _, k := range []namespaceKind{netNS, ipcNS, utsNS} {
		errs = append(errs, detach(sb.nsPath(k)))
	}
	errs = append(errs, detach(filepath.Join(sb.dir, "shm")))
	return errors.Join(errs...)
}

func (r *Runtime) removeSandbox(ctx context.Context, sb *sandbox) error {
	r.mu.Lock()
	sb.gone = true
	all := append([]*container(nil), sb.containers...)
	r.mu.Unlock()
	if err := r.stopSandbox(ctx, sb); err != nil {
		return err
	}
	for _, c := range all {
		if err := r.removeContainer(ctx, c); err != nil {
			return err
		}
	}
	if err := r.clearSandbox(sb); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.sandboxes, sb.id)
	r.mu.Unlock()
	return nil
}

// clearSandbox removes what makeSandbox made, as far as it came.
func (r *Runtime) clearSandbox(sb *sandbox) error {
	sb.life.Lock()
	defer sb.life.Unlock()
	errs := []error{r.disconnect(sb)}
	if sb.cgroup != nil && !r.sharedCgroup(sb) {
		for _, dir := range uniqueDirs(sb.cgroup.GetPaths()) {
			errs = append(errs, removeCgroup(dir))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(sb.dir))...)
}

// sharedCgroup tells whether another sandbox of the same pod, a later attempt, uses the cgroup.
func (r *Runtime) sharedCgroup(sb *sandbox) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.sandboxes {
		if other != sb && other.cfg.UID == sb.cfg.UID {
			return true
		}
	}
	return false
}

func uniqueDirs(paths map[string]string) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range paths {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// Sandboxes implements kubelet.Runtime.
func (r *Runtime) Sandboxes(context.Context) ([]kubelet.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]kubelet.Sandbox, 0, len(r.sandboxes))
	for _, sb := range r.sandboxes {
		out = append(out, sb.snapshot())
	}
	return out, nil
}

// snapshot wants Runtime.mu held.
func (sb *sandbox) snapshot() kubelet.Sandbox {
	s := kubelet.Sandbox{
		ID: sb.id, Config: sb.cfg, IPs: append([]netip.Addr(nil), sb.ips...),
		Ready: sb.ready, CreatedAt: sb.created,
	}
	for _, c := range sb.containers {
		s.Containers = append(s.Containers, c.status)
	}
	return s
}

// Sandbox implements kubelet.Runtime.
func (r *Runtime) Sandbox(_ context.Context, id string) (kubelet.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sb, ok := r.sandboxes[id]
	if !ok {
		return kubelet.Sandbox{}, fmt.Errorf("sandbox %s: %w", id, kubelet.ErrNotFound)
	}
	return sb.snapshot(), nil
}
