package apiserver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
)

// httpsServer serves pods over HTTP/2 to a client with a certificate.
func httpsServer(b *testing.B, n int) (url string, c *http.Client) {
	s := newServer(b)
	benchFill(b, s, n)
	ca, err := pki.New("bench")
	if err != nil {
		b.Fatal(err)
	}
	serving, err := ca.Server("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	own, err := ca.Client(admin.User, admin.Groups...)
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln, ca.ServerTLS(serving)) }()
	transport := &http.Transport{TLSClientConfig: ca.ClientTLS(own), ForceAttemptHTTP2: true}
	b.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		<-served
	})
	return "https://" + ln.Addr().String(), &http.Client{Transport: transport}
}

func benchFill(b *testing.B, s *apiserver.Server, n int) {
	pods := client.For[*corev1.Pod](s.Client(admin))
	for i := range n {
		p := testPod(fmt.Sprintf("pod-%06d", i))
		if _, err := pods.Create(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHTTPS makes requests from 50 goroutines over one connection. The processor time is the client's, too.
func BenchmarkHTTPS(b *testing.B) {
	const protobuf = "application/vnd.kubernetes.protobuf"
	for _, c := range []struct {
		name, method, path string
		body               func(i int) string
	}{
		{"get", "GET", "/api/v1/namespaces/default/pods/pod-000007", nil},
		{"list", "GET", "/api/v1/namespaces/default/pods", nil},
		{"patch", "PATCH", "/api/v1/namespaces/default/pods/pod-%06d", func(i int) string {
			return fmt.Sprintf(`{"metadata":{"annotations":{"n":"%d"}}}`, i)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			url, https := httpsServer(b, 1000)
			used := processorTime()
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range 50 {
				all.Go(func() {
					for i := w; i < b.N; i += 50 {
						path, body := c.path, io.Reader(nil)
						if c.body != nil {
							path, body = fmt.Sprintf(path, i%1000), strings.NewReader(c.body(i))
						}
						r, _ := http.NewRequest(c.method, url+path, body)
						r.Header.Set("Accept", protobuf)
						r.Header.Set("Content-Type", "application/merge-patch+json")
						resp, err := https.Do(r)
						if err != nil {
							b.Error(err)
							return
						}
						if _, err = io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
							b.Error(resp.StatusCode, err)
						}
						_ = resp.Body.Close()
					}
				})
			}
			all.Wait()
			reportProcessor(b, used)
		})
	}
}
