// Command kv is a replicated key-value store in one program: one, three or five nodes that talk over mutual TLS,
// each of which serves the etcd API. Ctrl-C stops all of it.
//
//	go run ./examples/kv -nodes 3 -dir state -etcd 127.0.0.1:2379
//	etcdctl --endpoints 127.0.0.1:2379,127.0.0.1:2380,127.0.0.1:2381 put greeting hello
//	go run ./examples/kv -demo      # kills the leader in front of your eyes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

type options struct {
	nodes, only int
	dir         string
	etcd, peers string
	demo        bool
	verbose     bool
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (*options, error) {
	var o options
	f := flag.NewFlagSet("kv", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.nodes, "nodes", 3, "how many nodes the store has: 1, 3 or 5")
	f.IntVar(&o.only, "node", 0, "run only this one of the nodes, from 1 on, such as in a process of its own")
	f.StringVar(&o.dir, "dir", "", "folder that holds the nodes' data, and their certificates (default: one that goes at the end)")
	f.StringVar(&o.etcd, "etcd", "127.0.0.1:2379", "address of the first node's etcd API; the others have the ports after it")
	f.StringVar(&o.peers, "peers", "127.0.0.1:12380", "address at which the others reach the first node; the others have the ports after it")
	f.BoolVar(&o.demo, "demo", false, "run each node as a process of its own, kill the leader, and look what became of the data")
	f.BoolVar(&o.verbose, "v", false, "log what the nodes do")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.nodes != 1 && o.nodes != 3 && o.nodes != 5:
		return nil, fmt.Errorf("-nodes: %d: want 1, 3 or 5", o.nodes)
	case o.only < 0 || o.only > o.nodes:
		return nil, fmt.Errorf("-node: there is no node %d among %d", o.only, o.nodes)
	case o.demo && o.nodes == 1:
		return nil, errors.New("-demo: one node cannot lose its leader: want -nodes 3 or 5")
	case o.demo && o.only != 0:
		return nil, errors.New("-demo runs all nodes: leave -node out")
	}
	for flagName, address := range map[string]string{"-etcd": o.etcd, "-peers": o.peers} {
		if _, err := port(address, o.nodes-1); err != nil {
			return nil, fmt.Errorf("%s: %w", flagName, err)
		}
	}
	return &o, nil
}

// port is the address whose port is n after another's.
func port(address string, n int) (string, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	first, err := strconv.ParseUint(text, 10, 16)
	if err != nil || first == 0 || int(first)+n > 65535 {
		return "", fmt.Errorf("%s: want a port from 1 to %d", address, 65535-n)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(first)+n)), nil
}

// nodeName is what the other nodes and etcdctl know node i by.
func nodeName(i int) string { return "node" + strconv.Itoa(i) }

func (o *options) etcdAddress(i int) string { return must(port(o.etcd, i-1)) }
func (o *options) peerAddress(i int) string { return must(port(o.peers, i-1)) }

// must is for what parse has checked.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (o *options) logger() *slog.Logger {
	if !o.verbose {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
