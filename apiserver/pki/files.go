package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// reloadEvery is how often files are looked at, at most: when somebody connects.
const reloadEvery = time.Second

// Files are certificates in PEM files that something else renews, such as cert-manager.
type Files struct {
	// Certificate and Key are what the server presents; the certificate's issuers may follow it.
	Certificate, Key string
	// ClientCAs have the authorities of client certificates; without them none are accepted.
	ClientCAs []string
	// Logger is told when changed files can't be used; nil discards.
	Logger *slog.Logger
}

// ServerTLS returns the configuration of a server that presents what the files hold, and accepts, but does not ask for,
// client certificates of their authorities. Files that change count for connections made a second later; while they
// can't be used, as between the writing of a certificate and of its key, the former ones stay.
func (f Files) ServerTLS() (*tls.Config, error) {
	if f.Logger == nil {
		f.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r := &reloader{files: f}
	var err error
	if r.seen, err = f.stamps(); err == nil {
		r.current, err = f.load()
	}
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	r.checked = time.Now()
	c := r.current.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.config(), nil }
	return c, nil
}

// reloader has the newest usable state of files.
type reloader struct {
	files Files

	mu      sync.Mutex
	checked time.Time
	seen    []stamp // of current
	current *tls.Config
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

func (f *Files) stamps() ([]stamp, error) {
	var out []stamp
	for _, path := range append([]string{f.Certificate, f.Key}, f.ClientCAs...) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		out = append(out, stamp{info.ModTime(), info.Size()})
	}
	return out, nil
}

func (f *Files) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if len(f.ClientCAs) == 0 {
		return c, nil
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	for _, path := range f.ClientCAs {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !c.ClientCAs.AppendCertsFromPEM(text) {
			return nil, errors.New(path + " has no PEM certificate")
		}
	}
	return c, nil
}

// config returns the configuration for a new connection.
func (r *reloader) config() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < reloadEvery {
		return r.current
	}
	r.checked = time.Now()
	now, err := r.files.stamps()
	if err == nil && sameStamps(now, r.seen) {
		return r.current
	}
	var next *tls.Config
	if err == nil {
		next, err = r.files.load()
	}
	if err != nil {
		r.files.Logger.Warn("changed certificates can't be used; keeping the former ones", "certificate", r.files.Certificate, "error", err)
		return r.current
	}
	r.files.Logger.Info("certificates changed", "certificate", r.files.Certificate)
	r.current, r.seen = next, now
	return r.current
}

func sameStamps(a, b []stamp) bool {
	for i := range a {
		if !a[i].modified.Equal(b[i].modified) || a[i].size != b[i].size {
			return false
		}
	}
	return true
}
