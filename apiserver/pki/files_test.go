package pki_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/inboard/inboard/apiserver/pki"
)

// TestFiles replaces certificates and authorities under a server, and looks at what its connections see.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	f := pki.Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCAs: []string{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "other.crt")}}
	if _, err := f.ServerTLS(); err == nil {
		t.Fatal("files that are not there are accepted")
	}
	oldCA, newCA := must(pki.New("old")), must(pki.New("new"))
	other := must(pki.New("other"))
	put(t, f.ClientCAs[1], other.CertificatePEM())
	write(t, f, must(oldCA.Server("localhost")), oldCA)
	config := must(f.ServerTLS())
	ln := must(tls.Listen("tcp", "127.0.0.1:0", config))
	t.Cleanup(func() { _ = ln.Close() })
	go serve(ln)

	oldUser, newUser := must(oldCA.Client("ann")), must(newCA.Client("bob"))
	if got := see(t, ln, oldCA, oldUser); got != "ann" {
		t.Fatalf("the server sees %q, want ann", got)
	}
	if got := see(t, ln, oldCA, must(other.Client("eve"))); got != "eve" {
		t.Fatalf("the server sees %q, want eve, whose authority is in the second file", got)
	}
	// A key that does not fit yet: the former certificate stays.
	next := must(newCA.Server("localhost"))
	put(t, f.Certificate, next.CertificatePEM)
	time.Sleep(1100 * time.Millisecond) // longer than files are not looked at
	if got := see(t, ln, oldCA, oldUser); got != "ann" {
		t.Fatalf("with half of a pair replaced the server sees %q, want ann", got)
	}
	write(t, f, next, newCA)
	deadline := time.Now().Add(time.Minute)
	for see(t, ln, newCA, newUser) != "bob" {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate and authority never count")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got := see(t, ln, newCA, oldUser); got != "" {
		t.Errorf("a certificate of the former authority is accepted as %q", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t *testing.T, f pki.Files, pair *pki.Pair, ca *pki.Authority) {
	t.Helper()
	put(t, f.Certificate, pair.CertificatePEM)
	put(t, f.Key, pair.KeyPEM)
	put(t, f.ClientCAs[0], ca.CertificatePEM())
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve tells each client its name.
func serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			c := conn.(*tls.Conn)
			if c.Handshake() != nil {
				return
			}
			if chains := c.ConnectionState().VerifiedChains; len(chains) > 0 {
				_, _ = c.Write([]byte(chains[0][0].Subject.CommonName))
			}
		}()
	}
}

// see connects as somebody who trusts an authority, and returns who the server thinks that is, "" when one does not
// accept the other.
func see(t *testing.T, ln net.Listener, trusted *pki.Authority, own *pki.Pair) string {
	t.Helper()
	config := trusted.ClientTLS(own)
	config.ServerName = "localhost"
	c, err := tls.Dial("tcp", ln.Addr().String(), config)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 16)
	n, _ := c.Read(b)
	return string(b[:n])
}
