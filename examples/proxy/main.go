// Command proxy routes the service traffic of one node, against any Kubernetes API server. Ctrl-C
// removes all rules.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/proxy"
	"github.com/inboard/inboard/proxy/iptables"
)

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "path of the kubeconfig; empty: the service account of this pod")
	node := flag.String("node-name", hostname(), "name of the node whose endpoints are local")
	cidr := flag.String("cluster-cidr", "", "addresses of the pods, as in 10.244.0.0/16; clients elsewhere are masqueraded")
	services := flag.String("service-cidr", "", "addresses of services, as in 10.96.0.0/16; those that do not exist are refused at once")
	instance := flag.String("instance", "", "prefix of all chains, to run beside another proxy of this kind (default INBOARD)")
	keep := flag.Bool("keep-rules", false, "leave the rules in place at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := proxy.Config{NodeName: *node, Instance: *instance, KeepRules: *keep}
	err := errors.Join(prefix("-cluster-cidr", *cidr, &cfg.ClusterCIDRs), prefix("-service-cidr", *services, &cfg.ServiceCIDRs))
	if err == nil {
		err = run(ctx, *kubeconfig, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// prefix reads the value of a flag.
func prefix(flag, value string, to *[]netip.Prefix) error {
	if value == "" {
		return nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	*to = []netip.Prefix{p}
	return nil
}

func run(ctx context.Context, kubeconfig string, cfg proxy.Config) (err error) {
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if cfg.Client, err = rest.New(rest.Config{Kubeconfig: kubeconfig}); err != nil {
		return err
	}
	if cfg.Applier, err = iptables.New(iptables.Config{Logger: cfg.Logger}); err != nil {
		return err
	}
	cfg.OnSync = report
	p, err := proxy.New(cfg)
	if err != nil {
		return err
	}
	fmt.Println("routing services; Ctrl-C removes all rules")
	return p.Run(ctx)
}

func report(s proxy.Sync) {
	if s.Err == nil {
		fmt.Printf("%d service ports in %d chains and %d rules, applied in %v\n", s.Services, s.Chains, s.Rules, s.Took)
	}
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}
