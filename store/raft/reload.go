package raft

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// reloadEvery is how often the files are looked at, at most.
const reloadEvery = time.Second

// reloader keeps what is in the files of a TLSConfig, and reads them again when they change. What cannot be
// read leaves what was read before.
type reloader struct {
	cfg TLSConfig

	mu      sync.Mutex
	looked  time.Time
	stamps  [3]stamp
	own     *tls.Certificate
	pool    *x509.CertPool
	trouble string // that was told already
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

func (r *reloader) certificate() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.own, nil
}

func (r *reloader) authorities() (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.pool, nil
}

// refresh reads the files again if they changed; r.mu is held.
func (r *reloader) refresh() {
	if time.Since(r.looked) < reloadEvery {
		return
	}
	err := r.load()
	if err != nil && err.Error() != r.trouble {
		r.cfg.Logger.Warn("certificates cannot be read again; the old ones stay", "error", err)
		r.trouble = err.Error()
	}
	if err == nil {
		r.trouble = ""
	}
}

// load reads the files if they are not as when they were read last; r.mu is held, or nobody else has r.
func (r *reloader) load() error {
	r.looked = time.Now()
	files := [3]string{r.cfg.CertFile, r.cfg.KeyFile, r.cfg.CAFile}
	var stamps [3]stamp
	for i, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("raft: %w", err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	if stamps == r.stamps {
		return nil
	}
	own, err := tls.LoadX509KeyPair(r.cfg.CertFile, r.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("raft: certificate in %s and %s: %w", r.cfg.CertFile, r.cfg.KeyFile, err)
	}
	pem, err := os.ReadFile(r.cfg.CAFile)
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("raft: %s has no certificate in PEM", r.cfg.CAFile)
	}
	r.own, r.pool, r.stamps = &own, pool, stamps
	return nil
}
