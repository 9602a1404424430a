// Command scheduler runs the scheduler alone against any Kubernetes API server.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/scheduler"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of a kubeconfig; empty means the service account of the pod this runs in")
	name := flag.String("name", scheduler.DefaultSchedulerName, "spec.schedulerName of the pods to place; the others are left alone")
	elect := flag.Bool("leader-elect", false, "wait until this scheduler leads, by the lease kube-system/kube-scheduler, and end when it no longer does")
	verbose := flag.Bool("v", false, "log each binding")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *name, *elect, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, name string, elect, verbose bool) error {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	c, err := rest.New(rest.Config{Kubeconfig: kubeconfig, UserAgent: "inboard-scheduler"})
	if err != nil {
		return err
	}
	defer c.Close()
	cfg := scheduler.Config{Client: c, SchedulerName: name, Logger: log}
	if elect {
		cfg.LeaderElection.Name = "kube-scheduler"
	}
	s, err := scheduler.New(cfg)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-s.Ready():
			log.Info("scheduling", "schedulerName", name, "nodes", s.Snapshot().Len())
		case <-ctx.Done():
		}
	}()
	return s.Run(ctx)
}
