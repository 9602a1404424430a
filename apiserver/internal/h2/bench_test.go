package h2_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func servers(b *testing.B, handler http.HandlerFunc, run func(b *testing.B, url string, c *http.Client)) {
	for name, ours := range map[string]bool{"h2": true, "net-http": false} {
		b.Run(name, func(b *testing.B) {
			ts := serve(b, ours, handler)
			b.ReportAllocs()
			run(b, ts.URL, ts.Client())
		})
	}
}

// BenchmarkRequests makes small requests from 50 goroutines over one connection, with the client in the same process.
func BenchmarkRequests(b *testing.B) {
	body := strings.Repeat("x", 1300)
	servers(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1300")
		_, _ = io.WriteString(w, body)
	}, func(b *testing.B, url string, c *http.Client) {
		var wg sync.WaitGroup
		for w := range 50 {
			wg.Go(func() {
				for i := w; i < b.N; i += 50 {
					resp, err := c.Post(url, "application/json", strings.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		wg.Wait()
	})
}

// BenchmarkWatches sends an event to each of 100 streams of one connection, and waits until all have it.
func BenchmarkWatches(b *testing.B) {
	event := []byte(strings.Repeat("x", 1499) + "\n")
	var mu sync.Mutex
	wake := make(chan struct{})
	servers(b, func(w http.ResponseWriter, r *http.Request) {
		for {
			mu.Lock()
			next := wake
			mu.Unlock()
			w.(http.Flusher).Flush()
			select {
			case <-next:
				_, _ = w.Write(event)
			case <-r.Context().Done():
				return
			}
		}
	}, func(b *testing.B, url string, c *http.Client) {
		var all sync.WaitGroup
		got := make(chan int, 100)
		var bodies []io.Closer
		for range 100 {
			resp, err := c.Get(url)
			if err != nil {
				b.Fatal(err)
			}
			bodies = append(bodies, resp.Body)
			all.Go(func() {
				buf := make([]byte, len(event))
				for {
					if _, err := io.ReadFull(resp.Body, buf); err != nil {
						return
					}
					got <- 1
				}
			})
		}
		b.ResetTimer()
		for range b.N {
			mu.Lock()
			close(wake)
			wake = make(chan struct{})
			mu.Unlock()
			for range 100 {
				<-got
			}
		}
		b.StopTimer()
		for _, body := range bodies {
			_ = body.Close()
		}
		all.Wait()
	})
}

// BenchmarkLarge reads answers of some megabytes.
func BenchmarkLarge(b *testing.B) {
	piece := make([]byte, 128<<10)
	servers(b, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", fmt.Sprint(48*len(piece)))
		for range 48 {
			_, _ = w.Write(piece)
		}
	}, func(b *testing.B, url string, c *http.Client) {
		b.SetBytes(int64(48 * len(piece)))
		for range b.N {
			resp, err := c.Get(url)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, resp.Body); n != int64(48*len(piece)) {
				b.Fatal(n, err)
			}
			_ = resp.Body.Close()
		}
	})
}
