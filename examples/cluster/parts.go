package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/controller/certificates"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
	"github.com/inboard/inboard/kubelet/process"
	"github.com/inboard/inboard/kubelet/runc"
	"github.com/inboard/inboard/proxy"
	"github.com/inboard/inboard/proxy/iptables"
	"github.com/inboard/inboard/scheduler"
)

// part is a component that runs until its context ends.
type part interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

// startParts starts all components but the API server, then the demo.
func (c *cluster) startParts(ctx context.Context) error {
	for _, p := range []struct {
		name string
		make func() (part, string, error)
	}{
		{theSched, c.newScheduler},
		{controllers, c.newControllers},
		{theKubelet, c.newKubelet},
		{theProxy, c.newProxy},
	} {
		if !c.has(p.name) {
			continue
		}
		from := time.Now()
		running, about, err := p.make()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		c.start(ctx, &c.parts, p.name, running.Run)
		if err := c.await(ctx, running.Ready()); err != nil {
			return err
		}
		c.part(p.name, from, "%s", about)
	}
	c.sweepHomes()
	if c.left != "" {
		c.say("  left out: %s", c.left)
	}
	c.hints()
	if c.demo {
		return c.startDemo(ctx)
	}
	return nil
}

func (c *cluster) newScheduler() (part, string, error) {
	s, err := scheduler.New(scheduler.Config{Client: c.as("system:kube-scheduler"), Logger: c.log})
	return s, "", err
}

func (c *cluster) newControllers() (part, string, error) {
	cfg := builtin.Config{Client: c.as("system:kube-controller-manager"), Logger: c.log}
	if c.authorization == byRBAC && c.server != nil {
		cfg.ClientFor = func(name string) client.Interface {
			return c.as("system:serviceaccount:kube-system:"+name, "system:serviceaccounts", "system:serviceaccounts:kube-system")
		}
	}
	if c.authority != nil {
		cfg.RootCA = c.authority.CertificatePEM()
		cert, key := c.authority.Signer()
		cfg.Signers = certificates.SignAll(certificates.Authority{Certificate: cert, Key: key})
	}
	if c.server != nil {
		cfg.Resources, cfg.Discover = served(), controller.Discover(c.server.Discovery)
	}
	g, err := builtin.New(cfg)
	return g, "", err
}

// served are the resources whose objects go with their namespace or owner: all that this program's server keeps.
func served() []controller.Resource {
	var out []controller.Resource
	for _, k := range kinds.All() {
		if k.Verbs == nil || slices.Contains(k.Verbs, "watch") && slices.Contains(k.Verbs, "delete") {
			out = append(out, controller.Resource{GroupVersionResource: k.GroupVersion().WithResource(k.Resource), Kind: k.Kind, Namespaced: k.Namespaced})
		}
	}
	return out
}

func (c *cluster) newKubelet() (part, string, error) {
	dir := filepath.Join(c.home, "kubelet")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	rt, err := c.openRuntime(dir)
	if err != nil {
		return nil, "", err
	}
	cfg := kubelet.Config{
		Client: c.as("system:node:"+c.node, "system:nodes"), Runtime: told{rt, c.report}, NodeName: c.node,
		Dir: dir, NodeIPs: []net.IP{c.nodeIP}, Logger: c.log,
	}
	if c.authority != nil {
		serving, err := c.authority.Server(c.node, c.nodeIP.String())
		if err != nil {
			_ = rt.Close()
			return nil, "", err
		}
		tls := c.authority.ServerTLS(serving)
		cfg.Server = kubelet.ServerConfig{Listener: c.kubeletAPI, TLS: tls}
	}
	k, err := kubelet.New(cfg)
	if err != nil {
		_ = rt.Close()
		return nil, "", err
	}
	return k, fmt.Sprintf("node %s (%s), pods in %s", c.node, c.runtime, c.pods), nil
}

func (c *cluster) openRuntime(dir string) (kubelet.Runtime, error) {
	images := image.Config{Mirrors: c.mirrors}
	if c.runtime == "process" {
		return process.Open(process.Config{Dir: filepath.Join(dir, "process"), Images: images, PodCIDR: c.pods, Logger: c.log})
	}
	return runc.Open(runc.Config{Dir: filepath.Join(dir, "runc"), Images: images, PodCIDR: c.pods, Logger: c.log})
}

// told is a runtime that tells the user how pulls go on.
type told struct {
	kubelet.Runtime
	report *report
}

func (t told) PullImage(ctx context.Context, ref string, auth kubelet.Auth, progress func(kubelet.PullProgress)) (kubelet.Image, error) {
	return t.Runtime.PullImage(ctx, ref, auth, func(p kubelet.PullProgress) {
		t.report.pull(p)
		if progress != nil {
			progress(p)
		}
	})
}

func (c *cluster) newProxy() (part, string, error) {
	applier, err := iptables.New(iptables.Config{Logger: c.log})
	if err != nil {
		return nil, "", err
	}
	p, err := proxy.New(proxy.Config{Client: c.as("system:kube-proxy"), Applier: applier, NodeName: c.node, Instance: c.instance(),
		ClusterCIDRs: []netip.Prefix{c.pods}, ServiceCIDRs: []netip.Prefix{c.services}, Logger: c.log})
	return p, fmt.Sprintf("services in %s", c.services), err
}

// instance is the prefix of the proxy's rules: clusters beside each other have services in different ranges,
// and one that follows a killed one in its range takes its rules over.
func (c *cluster) instance() string {
	if c.services.String() == defaultServices {
		return ""
	}
	sum := sha256.Sum256([]byte(c.services.String()))
	return fmt.Sprintf("INB%X", sum[:2])
}

// hints prints what to type next.
func (c *cluster) hints() {
	k := kubectl()
	c.say("try, in another terminal:")
	c.say("  export KUBECONFIG=%s", c.kubeconfigPath)
	if k == "bin/kubectl" {
		c.say("  make kubectl          # builds the real one, as this machine has none")
	}
	c.say("  %s get nodes,pods -A -o wide", k)
	if c.demo {
		c.say("  %s get deployment,replicaset,pod,service", k)
		c.say("  %s logs deployment/web", k)
		c.say("  %s scale deployment/web --replicas=5", k)
	}
}
