package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// nodeIP is the address of the node, and of the API, in the tests' network.
const nodeIP = "10.9.9.9"

// network makes the namespace look like a host with one network card, that leads nowhere.
func network() error {
	card := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "card"}, PeerName: "wall"}
	if err := netlink.LinkAdd(card); err != nil {
		return err
	}
	wall, err := netlink.LinkByName(card.PeerName)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetUp(card), netlink.LinkSetUp(wall)); err != nil {
		return err
	}
	if err := netlink.AddrAdd(card, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(nodeIP), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	// The way to services' addresses, which the proxy's rules then change.
	return netlink.RouteAdd(&netlink.Route{LinkIndex: card.Index, Scope: netlink.SCOPE_LINK,
		Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}})
}

// stateSize bounds the cluster's state, images and containers included.
const stateSize = "size=4g"

// cluster is a running examples/cluster.
type cluster struct {
	cmd        *exec.Cmd
	state      string
	kubeconfig string
	exited     chan error
}

// startCluster starts a cluster and waits until its node is ready. Its state is in memory: how full the machine's disk
// is then does not taint the node.
func startCluster(ctx context.Context, dir, results, mirror string) (*cluster, error) {
	state, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return nil, err
	}
	c := &cluster{state: state, kubeconfig: filepath.Join(state, "kubeconfig"), exited: make(chan error, 1)}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, stateSize); err != nil {
		return nil, errors.Join(fmt.Errorf("mount a tmpfs: %w", err), os.Remove(state))
	}
	log, err := os.Create(filepath.Join(results, "cluster.log"))
	if err != nil {
		return nil, errors.Join(err, c.clean())
	}
	defer log.Close()
	c.cmd = exec.Command(filepath.Join(dir, "cluster"), "-dir", state, "-listen", net.JoinHostPort(nodeIP, "6443"), "-demo=false",
		"-registry-mirror", registryHost+"="+mirror, "-v",
		"-history", "2m") // a test waits until a list's snapshot is gone
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // Ctrl-C is for this program, which stops the cluster last
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, c.clean())
	}
	go func() { c.exited <- c.cmd.Wait() }()
	if err := c.await(ctx, filepath.Join(dir, "kubectl")); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; see %s", err, log.Name()), c.stop())
	}
	return c, nil
}

var errEnded = errors.New("the cluster ended by itself")

// whileRunning returns a context that ends with ctx, and when the cluster does.
func (c *cluster) whileRunning(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-c.exited:
			c.exited <- err
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// await waits until the node is ready.
func (c *cluster) await(ctx context.Context, kubectl string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := exec.CommandContext(ctx, kubectl, "--kubeconfig", c.kubeconfig, "wait", "--for=condition=Ready", "node", "--all", "--timeout=1m").Run()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the cluster's node is not ready")
		case err := <-c.exited:
			c.exited <- err
			return errEnded
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// stop ends the cluster as Ctrl-C does, and removes its state.
func (c *cluster) stop() error {
	_ = c.cmd.Process.Signal(os.Interrupt)
	err := <-c.exited
	if err != nil {
		err = fmt.Errorf("the cluster did not end well: %w", err)
	}
	return errors.Join(err, c.clean())
}

func (c *cluster) clean() error {
	return errors.Join(syscall.Unmount(c.state, 0), os.Remove(c.state))
}
