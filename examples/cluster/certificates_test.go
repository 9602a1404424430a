package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/inboard/inboard/apiserver/pki"
)

// TestReplacedCertificate replaces the serving certificate of a durable cluster while it runs: who connects sees the new
// one, who is connected stays, and the next start keeps it. An authority that is added to ca.crt counts, too.
func TestReplacedCertificate(t *testing.T) {
	dir := t.TempDir()
	c := startCluster(t, dir)
	ca := must(pki.Load(filepath.Join(dir, "pki"), "inboard"))
	stays := c.dial(t, ca, nil)
	first := stays.ConnectionState().PeerCertificates[0]

	hosts := append(slices.Clone(first.DNSNames), "api.example.com")
	for _, ip := range first.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	next := must(ca.Server(hosts...))
	for name, text := range map[string][]byte{"apiserver.key": next.KeyPEM, "apiserver.crt": next.CertificatePEM} {
		if err := pki.WriteFile(filepath.Join(dir, "pki", name), text); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitCertificate(t, ca, next.TLS.Leaf)
	if got := ask(t, stays, "/healthz"); got != "200 OK" {
		t.Errorf("the connection from before is answered %s", got)
	}

	users := must(pki.New("users"))
	ann := must(users.Client("ann"))
	knows := func() bool { // nobody else is let into discovery
		conn, err := c.tryDial(ca, ann)
		if err != nil {
			return false
		}
		defer conn.Close()
		return ask(t, conn, "/apis") == "200 OK"
	}
	if knows() {
		t.Error("a user of an authority that was never added is known")
	}
	if err := pki.WriteFile(filepath.Join(dir, "pki", "ca.crt"), append(ca.CertificatePEM(), users.CertificatePEM()...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a user of an added authority", knows)
	c.stop(t)

	c = startCluster(t, dir)
	defer c.stop(t)
	if got := c.dial(t, ca, ann).ConnectionState().PeerCertificates[0]; !got.Equal(next.TLS.Leaf) {
		t.Errorf("the next start serves the certificate %s of %s", got.SerialNumber, got.Issuer)
	}
}

// awaitCertificate connects until the cluster presents a certificate.
func (c *runningCluster) awaitCertificate(t *testing.T, ca *pki.Authority, want *x509.Certificate) {
	t.Helper()
	eventually(t, "the new certificate", func() bool {
		return c.dial(t, ca, nil).ConnectionState().PeerCertificates[0].Equal(want)
	})
}

func (c *runningCluster) dial(t *testing.T, ca *pki.Authority, own *pki.Pair) *tls.Conn {
	t.Helper()
	conn, err := c.tryDial(ca, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (c *runningCluster) tryDial(ca *pki.Authority, own *pki.Pair) (*tls.Conn, error) {
	config := ca.ClientTLS(own)
	config.ServerName = "localhost"
	return tls.Dial("tcp", c.address, config)
}

// TestKeepServing tells which serving certificates stay when a durable cluster starts.
func TestKeepServing(t *testing.T) {
	ca, former, other := must(pki.New("inboard")), must(pki.New("inboard")), must(pki.New("other"))
	hosts := []string{"localhost", "127.0.0.1"}
	garbage := &pki.Pair{CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), KeyPEM: []byte("y")}
	for _, test := range []struct {
		name   string
		have   *pki.Pair
		stays  bool
		refuse bool
	}{
		{name: "none"},
		{name: "good", have: must(ca.Server("localhost", "127.0.0.1", "more.example.com")), stays: true},
		{name: "a host is missing", have: must(ca.Server("localhost"))},
		{name: "a former authority's", have: must(former.Server(hosts...))},
		{name: "another authority's", have: must(other.Server("api.example.com")), stays: true},
		{name: "garbage", have: garbage, refuse: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			files := pki.Files{Certificate: filepath.Join(dir, "apiserver.crt"), Key: filepath.Join(dir, "apiserver.key")}
			if test.have != nil {
				if err := os.WriteFile(files.Certificate, test.have.CertificatePEM, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(files.Key, test.have.KeyPEM, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := keepServing(ca, files, hosts); err != nil != test.refuse {
				t.Fatal(err)
			}
			if test.refuse {
				return
			}
			pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
			if err != nil {
				t.Fatal(err)
			}
			if stays := test.have != nil && pair.Leaf.Equal(test.have.TLS.Leaf); stays != test.stays {
				t.Errorf("it stays: %v, want %v", stays, test.stays)
			}
			if !test.stays && stale(ca, pair.Leaf, hosts) {
				t.Error("the new one is stale")
			}
		})
	}
	soon := must(ca.Server(hosts...)).TLS.Leaf
	soon.NotAfter = time.Now().Add(renewBefore - time.Hour)
	if !stale(ca, soon, append(hosts, net.IPv4(127, 0, 0, 1).String())) {
		t.Error("a certificate that expires soon stays")
	}
}
