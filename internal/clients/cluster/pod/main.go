// Command pod is what runs in the pods of the clients' tests. `pod serve` answers HTTP requests at its pod's address with
// what -say says, echoes its standard input line by line, and ends when it is asked to; `pod once` says something and
// ends well.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("pod", flag.ContinueOnError)
	say := fs.String("say", "v1", "what to answer")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "once":
		fmt.Println("done", *say)
		return nil
	case "serve":
		return serve(*say)
	}
	return fmt.Errorf("there is no %q", args[0])
}

func serve(say string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: net.JoinHostPort(os.Getenv("POD_IP"), "8080"), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, say) })}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			fmt.Println("heard", in.Text())
		}
	}()
	fmt.Println("serving", say)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return srv.Close()
	}
}
