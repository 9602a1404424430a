// Command kubelet runs the pods of one node, against any Kubernetes API server. Ctrl-C stops the
// pods and leaves nothing behind but the images in -dir.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/kubelet"
	"github.com/inboard/inboard/kubelet/image"
	"github.com/inboard/inboard/kubelet/process"
	"github.com/inboard/inboard/kubelet/runc"
)

type options struct {
	kubeconfig, runtime, nodeName, dir, podCIDR, listen string
	mirrors                                             map[string]string
}

func main() {
	runc.Init() // it starts containers by starting this program anew
	o := options{mirrors: map[string]string{}}
	flag.StringVar(&o.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "path of the kubeconfig")
	flag.StringVar(&o.runtime, "runtime", "runc", "runc (containers, needs root) or process (plain processes)")
	flag.StringVar(&o.nodeName, "node-name", "", "name of the node (default: the host's)")
	flag.StringVar(&o.dir, "dir", defaultDir(), "folder for images, volumes and logs")
	flag.StringVar(&o.podCIDR, "pod-cidr", "", "addresses for pods (default: the runtime's)")
	flag.StringVar(&o.listen, "listen", ":10250", "address of the HTTPS API that kubectl logs goes through")
	flag.Func("registry-mirror", "host=URL to pull from in place of a registry; repeatable", func(s string) error {
		host, url, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("want host=URL, as in docker.io=http://127.0.0.1:5000")
		}
		o.mirrors[host] = url
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defaultDir is a place that only this user can write to.
func defaultDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/inboard-kubelet"
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "inboard-kubelet")
	}
	return "inboard-kubelet"
}

func run(ctx context.Context, o options) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c, err := rest.New(rest.Config{Kubeconfig: o.kubeconfig})
	if err != nil {
		return err
	}
	defer c.Close()
	server, err := serverConfig(o)
	if err != nil {
		return err
	}
	rt, err := openRuntime(o, log)
	if err != nil {
		return err
	}
	k, err := kubelet.New(kubelet.Config{Client: c, Runtime: rt, NodeName: o.nodeName,
		Dir: filepath.Join(o.dir, "kubelet"), Server: server, Logger: log})
	if err != nil {
		_ = rt.Close()
		return err
	}
	go func() {
		<-k.Ready()
		fmt.Println("the node is ready; Ctrl-C stops its pods")
	}()
	return k.Run(ctx)
}

func openRuntime(o options, log *slog.Logger) (kubelet.Runtime, error) {
	var cidr netip.Prefix
	if o.podCIDR != "" {
		var err error
		if cidr, err = netip.ParsePrefix(o.podCIDR); err != nil {
			return nil, fmt.Errorf("-pod-cidr: %w", err)
		}
	}
	images := image.Config{Mirrors: o.mirrors}
	switch o.runtime {
	case "runc":
		return runc.Open(runc.Config{Dir: filepath.Join(o.dir, "runc"), Images: images, PodCIDR: cidr, Logger: log})
	case "process":
		return process.Open(process.Config{Dir: filepath.Join(o.dir, "process"), Images: images, PodCIDR: cidr, Logger: log})
	}
	return nil, fmt.Errorf("-runtime %q is not runc or process", o.runtime)
}

// serverConfig lets in those whose certificate the cluster's authority signed.
func serverConfig(o options) (kubelet.ServerConfig, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return kubelet.ServerConfig{}, fmt.Errorf("-kubeconfig: %w", err)
	}
	ca := cfg.CAData
	if len(ca) == 0 && cfg.CAFile != "" {
		if ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return kubelet.ServerConfig{}, err
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return kubelet.ServerConfig{}, nil // no authority, no logs by the API
	}
	cert, err := kubelet.SelfSigned(o.nodeName, nil)
	if err != nil {
		return kubelet.ServerConfig{}, err
	}
	return kubelet.ServerConfig{Address: o.listen, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool}}, nil
}
