// Command controllers runs the built-in controllers against any Kubernetes API server.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/builtin"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of a kubeconfig; empty means the service account of the pod this runs in")
	verbose := flag.Bool("v", false, "log each reconcile")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "controllers:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string, verbose bool) error {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	c, err := rest.New(rest.Config{REST: cfg, UserAgent: "inboard-controllers"})
	if err != nil {
		return err
	}
	defer c.Close()
	discover, err := discovery(cfg)
	if err != nil {
		return err
	}
	served, err := discover(ctx)
	if err != nil && len(served) == 0 {
		return fmt.Errorf("the API server at %s does not tell what it serves: %w", cfg.Host, err)
	}
	if served, err = builtinOf(ctx, c, served); err != nil {
		return err
	}
	ca := cfg.CAData
	if len(ca) == 0 && cfg.CAFile != "" {
		if ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return err
		}
	}
	group, err := builtin.New(builtin.Config{Client: c, Resources: served, Discover: discover, RootCA: ca, Logger: log})
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-group.Ready():
			fmt.Printf("controllers: running against %s, %d resources; Ctrl-C stops\n", cfg.Host, len(served))
		case <-ctx.Done():
		}
	}()
	return group.Run(ctx)
}

// builtinOf returns the resources that no user has defined: those that stay as long as the server runs.
func builtinOf(ctx context.Context, c client.Interface, served []controller.Resource) ([]controller.Resource, error) {
	definitions := client.Ref{GroupVersionResource: schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}}
	list, err := c.List(ctx, definitions, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return served, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the definitions of kinds: %w", err)
	}
	defined := map[string]bool{}
	for _, o := range list.Items {
		if m, ok := o.(metav1.Object); ok {
			defined[m.GetName()] = true
		}
	}
	return slices.DeleteFunc(served, func(r controller.Resource) bool { return defined[r.GroupResource().String()] }), nil
}

// discovery asks the server what it serves.
func discovery(cfg *clientrest.Config) (controller.Resources, error) {
	hc, err := clientrest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	base, _, err := clientrest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	return controller.Discover(func(ctx context.Context, path string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base.String(), "/")+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		res, err := hc.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the server answered %s", res.Status)
		}
		return io.ReadAll(res.Body)
	}), nil
}
