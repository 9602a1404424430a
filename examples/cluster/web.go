package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drain is how long a web server that was asked to stop goes on answering: the time in which the
// proxies of all nodes learn that it is going.
const drain = time.Second

// web is the demo's web server, which this program is in the demo's containers: it says which pod
// answered.
func web(args []string) error {
	fs := flag.NewFlagSet("web", flag.ExitOnError)
	// A pod's own address is told by the process runtime; with runc all addresses are the pod's.
	listen := fs.String("listen", net.JoinHostPort(os.Getenv("POD_IP"), "8080"), "address to listen on")
	greeting := fs.String("greeting", "hello from", "what to say before the pod's name")
	if err := fs.Parse(args); err != nil {
		return err
	}
	name, err := os.Hostname()
	if pod := os.Getenv("POD_NAME"); pod != "" {
		name = pod
	}
	if err != nil && name == "" {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: *listen, ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s\n", *greeting, name)
			if r.URL.Path != "/healthz" {
				fmt.Printf("%s %s from %s\n", r.Method, r.URL.Path, r.RemoteAddr)
			}
		})}
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	fmt.Printf("listening on %s\n", *listen)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	time.Sleep(drain)
	if err := srv.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
