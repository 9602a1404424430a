package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/inboard/inboard/apiserver/pki"
)

// renewBefore is how long a kept serving certificate must still be good when the program starts.
const renewBefore = 30 * 24 * time.Hour

// certificates makes the API server's certificate. With -dir it is a file, and so are the authorities of clients: what
// replaces them while the cluster runs counts for new connections.
func (c *cluster) certificates(addr net.Addr) (*tls.Config, error) {
	hosts := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "127.0.0.1", c.nodeIP.String(), c.server.ServiceIP()}
	if host, _, err := net.SplitHostPort(addr.String()); err == nil && !slices.Contains(hosts, host) {
		hosts = append(hosts, host)
	}
	if c.dir == "" {
		serving, err := c.authority.Server(hosts...)
		if err != nil {
			return nil, err
		}
		return c.authority.ServerTLS(serving, c.frontProxies), nil
	}
	in := func(name ...string) string { return filepath.Join(append([]string{c.home, "pki"}, name...)...) }
	files := pki.Files{
		Certificate: in("apiserver.crt"), Key: in("apiserver.key"), Logger: c.log,
		ClientCAs: []string{in("ca.crt"), in("front-proxy", "ca.crt")},
	}
	if err := keepServing(c.authority, files, hosts); err != nil {
		return nil, err
	}
	return files.ServerTLS()
}

// keepServing writes a serving certificate where there is none, or where the authority's own expires soon or lacks a
// host. One of another authority is somebody's choice, and stays.
func keepServing(authority *pki.Authority, files pki.Files, hosts []string) error {
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s and %s can't be used: %w; remove them to have new ones made", files.Certificate, files.Key, err)
	case !stale(authority, pair.Leaf, hosts):
		return nil
	}
	serving, err := authority.Server(hosts...)
	if err != nil {
		return err
	}
	// A crash leaves no certificate, or one that fits the key.
	if err := os.Remove(files.Certificate); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := pki.WriteFile(files.Key, serving.KeyPEM); err != nil {
		return err
	}
	return pki.WriteFile(files.Certificate, serving.CertificatePEM)
}

// stale tells whether a certificate is the authority's, or that of a former one of its name, and no good for the hosts
// any more.
func stale(authority *pki.Authority, leaf *x509.Certificate, hosts []string) bool {
	ca, _ := authority.Signer()
	if !bytes.Equal(leaf.RawIssuer, ca.RawSubject) {
		return false
	}
	return leaf.CheckSignatureFrom(ca) != nil || time.Until(leaf.NotAfter) < renewBefore ||
		slices.ContainsFunc(hosts, func(host string) bool { return leaf.VerifyHostname(host) != nil })
}
