package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/apiserver/webhook"
)

// cluster is what runs.
type cluster struct {
	*options
	*report
	log *slog.Logger
	// home holds all files; it is temporary when no -dir is given.
	home, kubeconfigPath string
	nodeIP               net.IP

	// authority signs users' and servers' certificates, frontProxies those of servers that pass requests on.
	authority, frontProxies *pki.Authority
	server                  *apiserver.Server
	definitions             *crd.Definitions
	hooks                   *webhook.Webhooks
	remote                  *rest.Client // instead of server, when the API is elsewhere
	// kubeletAPI is how the API server in this program reaches the kubelet in it.
	kubeletAPI   *apiserver.Pipe
	demoListener net.Listener

	parts  sync.WaitGroup
	failed chan error
}

// run runs the cluster until ctx ends or a part of it fails.
func run(ctx context.Context, o *options, r *report) error {
	c := &cluster{options: o, report: r, log: logger(o), kubeletAPI: apiserver.NewPipe(), failed: make(chan error, 1)}
	removeHome, err := c.makeHome()
	if err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return errors.Join(err, removeHome())
	}
	// The API ends after the others, so that they can say good-bye; the store after the API.
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	partsCtx, stopParts := context.WithCancel(ctx)
	defer stopAPI()
	defer stopParts()
	var api sync.WaitGroup
	closeStore, err := c.startAPI(apiCtx, &api)
	if err == nil {
		err = c.startParts(partsCtx)
	}
	if err == nil {
		c.say("Ctrl-C stops everything and leaves nothing behind")
		select {
		case <-ctx.Done():
		case err = <-c.failed:
		}
	}
	from := time.Now()
	stopParts()
	c.parts.Wait()
	stopAPI()
	api.Wait()
	if err != nil && ctx.Err() != nil { // what starts is broken off by Ctrl-C, each part in its way
		c.log.Debug("broken off", "error", err)
		err = nil
	}
	err = errors.Join(err, closeStore(), removeHome())
	if ctx.Err() != nil {
		c.say("\nstopped in %s", took(from))
	}
	return err
}

func logger(o *options) *slog.Logger {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// prepare finds the node's name and address, and the kubeconfig's place.
func (c *cluster) prepare() error {
	if c.node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("this host has no name: give one with -node-name: %w", err)
		}
		c.node = strings.ToLower(name)
		if wrong := validation.IsDNS1123Subdomain(c.node); len(wrong) > 0 {
			return fmt.Errorf("this host's name %q can't be a node's: give one with -node-name: %s", c.node, wrong[0])
		}
	}
	if c.kubeconfigPath = c.kubeconfig; c.kubeconfigPath == "" {
		c.kubeconfigPath = filepath.Join(c.home, "kubeconfig")
	}
	c.nodeIP = hostIP()
	if c.demo {
		return c.listenDemo()
	}
	return nil
}

// hostIP is the first address of this host that others may reach it at, or loopback.
func hostIP() net.IP {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.To4()
		}
	}
	return net.IPv4(127, 0, 0, 1).To4()
}

// start runs a part in the background; when it fails, the cluster stops.
func (c *cluster) start(ctx context.Context, wg *sync.WaitGroup, name string, runPart func(context.Context) error) {
	wg.Go(func() {
		err := runPart(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		if err != nil && ctx.Err() == nil {
			select {
			case c.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		} else if err != nil {
			c.say("%s: while stopping: %v", name, err)
		}
	})
}

// await waits for a part to be ready.
func (c *cluster) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// as returns a client with a component's identity: in process, or with that of the kubeconfig.
func (c *cluster) as(user string, groups ...string) client.Interface {
	if c.server == nil {
		return c.remote
	}
	groups = append(slices.Clone(groups), "system:authenticated")
	return c.server.Client(apiserver.Identity{User: user, Groups: groups})
}

// listenAPI opens the API's port, with an error that says what to do.
func (c *cluster) listenAPI() (net.Listener, error) {
	ln, err := net.Listen("tcp", c.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("-listen: another program has port %s: stop it, or choose another with -listen", c.listen)
	}
	if err != nil {
		return nil, fmt.Errorf("-listen %s: %w", c.listen, err)
	}
	return ln, nil
}
