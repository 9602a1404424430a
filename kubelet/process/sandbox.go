//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/inboard/inboard/kubelet"
)

// sandbox is a pod: an address and its containers. Runtime.mu guards it.
type sandbox struct {
	state      kubelet.Sandbox // without its containers
	containers []*container    // in the order in which they were created
	freed      bool            // the address was given back
}

// RunSandbox implements kubelet.Runtime.
func (r *Runtime) RunSandbox(ctx context.Context, cfg kubelet.SandboxConfig) (kubelet.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return kubelet.Sandbox{}, err
	}
	if len(cfg.HostPorts) > 0 {
		return kubelet.Sandbox{}, fmt.Errorf("process: pod %s/%s asks for host port %d, which needs the runc runtime",
			cfg.Namespace, cfg.Name, cfg.HostPorts[0].HostPort)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return kubelet.Sandbox{}, errClosed
	}
	sb := &sandbox{state: kubelet.Sandbox{ID: newID(), Config: cfg, Ready: true, CreatedAt: time.Now()}}
	if !cfg.HostNetwork {
		ip, err := r.takeIP()
		if err != nil {
			return kubelet.Sandbox{}, err
		}
		sb.state.IPs = []netip.Addr{ip}
	}
	r.sandboxes[sb.state.ID] = sb
	return sb.snapshot(), nil
}

// takeIP returns a free address, going round so that one is not reused at once. r.mu is held.
func (r *Runtime) takeIP() (netip.Addr, error) {
	first := r.cfg.PodCIDR.Masked().Addr().Next()
	ip := r.lastIP
	for range 1 << min(32-r.cfg.PodCIDR.Bits(), 16) {
		if ip = ip.Next(); !ip.IsValid() || !r.cfg.PodCIDR.Contains(ip.Next()) || !r.cfg.PodCIDR.Contains(ip) {
			ip = first
		}
		if !r.ips[ip] {
			r.ips[ip], r.lastIP = true, ip
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("process: no address is left in %s", r.cfg.PodCIDR)
}

func (s *sandbox) snapshot() kubelet.Sandbox {
	out := s.state
	out.IPs = slices.Clone(out.IPs)
	for _, c := range s.containers {
		out.Containers = append(out.Containers, c.state)
	}
	return out
}

// StopSandbox implements kubelet.Runtime.
func (r *Runtime) StopSandbox(_ context.Context, id string) error { return r.stopSandbox(id) }

func (r *Runtime) stopSandbox(id string) error {
	r.mu.Lock()
	sb := r.sandboxes[id]
	if sb == nil {
		r.mu.Unlock()
		return nil
	}
	sb.state.Ready = false
	list := slices.Clone(sb.containers)
	r.mu.Unlock()
	var errs []error
	for _, c := range list {
		errs = append(errs, r.kill(c))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.mu.Lock()
	if !sb.freed {
		for _, ip := range sb.state.IPs {
			delete(r.ips, ip)
		}
		sb.freed = true
	}
	r.mu.Unlock()
	r.news.Tell(sb.state.Config.UID)
	return nil
}

// RemoveSandbox implements kubelet.Runtime.
func (r *Runtime) RemoveSandbox(_ context.Context, id string) error { return r.removeSandbox(id) }

func (r *Runtime) removeSandbox(id string) error {
	if err := r.stopSandbox(id); err != nil {
		return err
	}
	r.mu.Lock()
	sb := r.sandboxes[id]
	var list []*container
	if sb != nil {
		list = slices.Clone(sb.containers)
	}
	r.mu.Unlock()
	var errs []error
	for _, c := range list {
		errs = append(errs, r.removeContainer(c.state.ID))
	}
	r.mu.Lock()
	delete(r.sandboxes, id)
	r.mu.Unlock()
	return errors.Join(errs...)
}

// Sandboxes implements kubelet.Runtime.
func (r *Runtime) Sandboxes(context.Context) ([]kubelet.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]kubelet.Sandbox, 0, len(r.sandboxes))
	for _, sb := range r.sandboxes {
		out = append(out, sb.snapshot())
	}
	slices.SortFunc(out, func(a, b kubelet.Sandbox) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// Sandbox implements kubelet.Runtime.
func (r *Runtime) Sandbox(_ context.Context, id string) (kubelet.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sb := r.sandboxes[id]
	if sb == nil {
		return kubelet.Sandbox{}, notFound("sandbox", id)
	}
	return sb.snapshot(), nil
}
