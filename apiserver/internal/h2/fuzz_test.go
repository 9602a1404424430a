package h2_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// FuzzConn is a client that sends anything. The server ends the connection or goes on, but does not fail or hang.
func FuzzConn(f *testing.F) {
	f.Add([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"))
	f.Add([]byte("\x00\x00\x04\x01\x05\x00\x00\x00\x01\x82\x87\x84\x41"))
	f.Add([]byte("\x00\x00\x03\x01\x04\x00\x00\x00\x01\x83\x87\x84\x00\x00\x02\x00\x01\x00\x00\x00\x01hi"))
	f.Add([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x87\x84"))
	f.Fuzz(func(t *testing.T, frames []byte) {
		p, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = io.Copy(w, r.Body)
		}, 0)
		_, _ = io.WriteString(p.nc, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		_, _ = p.nc.Write(frames)
		if c, ok := p.nc.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		go func() { _, _ = io.Copy(io.Discard, p.nc) }()
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection did not end")
		}
	})
}
