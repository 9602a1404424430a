package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// programs are what this test is in its containers.
var programs = map[string]func(args []string) error{"web": web, "echo": echo, "eat": eat, "fail": fail}

// web says its version and its pod's name; asked to stop, it goes on for a second, until all proxies
// know, as a careful server does.
func web(args []string) error {
	fs := flag.NewFlagSet("web", flag.ContinueOnError)
	say := fs.String("say", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	name, _ := os.Hostname()
	if pod := os.Getenv("POD_NAME"); pod != "" {
		name = pod
	}
	srv := &http.Server{Addr: net.JoinHostPort(os.Getenv("POD_IP"), "8080"), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprintln(w, *say, name)
		})}
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	fmt.Println("serving", *say)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	fmt.Println("going")
	time.Sleep(time.Second)
	return srv.Shutdown(context.Background())
}

// echo answers UDP packets with its pod's name.
func echo([]string) error {
	conn, err := net.ListenPacket("udp", ":9000")
	if err != nil {
		return err
	}
	name, _ := os.Hostname()
	fmt.Println("listening")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		conn.Close()
	}()
	buf := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo([]byte(name), from); err != nil {
			return err
		}
	}
}

// eat takes more and more memory.
func eat([]string) error {
	fmt.Println("hungry")
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
		if len(all) > 4096 {
			return errors.New("nobody stopped me")
		}
	}
}

// fail exits with the code 3.
func fail([]string) error {
	fmt.Println("about to fail")
	os.Exit(3)
	return nil
}

// serve serves h on loopback until the test ends, and returns its URL.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + ln.Addr().String()
}

// hanging is the URL of a registry that accepts requests and says nothing.
func hanging(t testing.TB) string {
	t.Helper()
	return serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
}
