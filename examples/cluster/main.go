// Command cluster is a whole cluster in one program: the API server with its store, the scheduler, the
// controllers, one node with its kubelet, and the service proxy. Ctrl-C stops everything and leaves
// nothing behind.
//
//	go run ./examples/cluster              # in memory, with a demo in it
//	go run ./examples/cluster -dir state   # durable
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/inboard/inboard/kubelet/runc"
)

func main() {
	runc.Init() // a container starts as a copy of this program
	begun := time.Now()
	if len(os.Args) > 1 && os.Args[1] == "web" {
		exit("web", web(os.Args[2:]))
	}
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		exit("cluster", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit("cluster", run(ctx, o, newReport(os.Stdout, begun)))
}

func exit(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
