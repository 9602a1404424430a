package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds each wait for something that must happen.
const patience = 90 * time.Second

// runningCluster is the program's cluster in the test's own process.
type runningCluster struct {
	address string // of the API
	cancel  context.CancelFunc
	ended   chan error
	out     *output
}

// output is what a cluster says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var addressSaid = regexp.MustCompile(`https://(\S+), ready`)

// startCluster starts a durable cluster of an API server alone, and waits until it is up. flags come last.
func startCluster(t *testing.T, dir string, flags ...string) *runningCluster {
	t.Helper()
	o, err := parse(append([]string{"-dir", dir, "-listen", "127.0.0.1:0", "-components", "apiserver", "-node-name", "node-a"}, flags...), &output{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &runningCluster{cancel: cancel, ended: make(chan error, 1), out: &output{}}
	go func() { c.ended <- run(ctx, o, newReport(c.out, time.Now())) }()
	t.Cleanup(cancel)
	eventually(t, "the cluster", func() bool {
		select {
		case err := <-c.ended:
			t.Fatalf("the cluster ended: %v\n%s", err, c.out)
		default:
		}
		return strings.Contains(c.out.String(), "Ctrl-C stops everything")
	})
	said := addressSaid.FindStringSubmatch(c.out.String())
	if said == nil {
		t.Fatalf("the cluster does not say where the API is:\n%s", c.out)
	}
	c.address = said[1]
	return c
}

// stop is Ctrl-C.
func (c *runningCluster) stop(t *testing.T) {
	t.Helper()
	c.cancel()
	select {
	case err := <-c.ended:
		if err != nil {
			t.Fatalf("the cluster ended with %v\n%s", err, c.out)
		}
	case <-time.After(patience):
		t.Fatalf("the cluster does not end:\n%s", c.out)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never comes", what)
		}
	}
}

// ask gets a path over a connection, and returns the status.
func ask(t *testing.T, conn *tls.Conn, path string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	req, err := http.NewRequest(http.MethodGet, "https://localhost"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		return err.Error()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err.Error()
	}
	res.Body.Close()
	return res.Status
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
