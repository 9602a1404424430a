package raft_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/inboard/inboard/store/raft"
)

// exampleNetwork is a network with certificates of an authority made for it.
func exampleNetwork() raft.Network {
	a := newAuthority(exampleT{})
	cert, key := a.member("member")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	n, err := raft.TLS(raft.TLSConfig{
		Certificate: func() (*tls.Certificate, error) { return &pair, nil },
		Authorities: func() (*x509.CertPool, error) { return pool, nil },
	})
	if err != nil {
		panic(err)
	}
	return n
}

// exampleT is what an example has instead of a test.
type exampleT struct{ testing.TB }

func (exampleT) Fatal(args ...any) { panic(args) }

// authority signs certificates of members.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.key, _ = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// member returns a certificate for a member at 127.0.0.1, and its key, in PEM.
func (a *authority) member(name string) (cert, key []byte) {
	own, keyPEM := a.newKey()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// write writes a new certificate of a member into dir, where config finds it.
func (a *authority) write(dir, name string) raft.TLSConfig {
	cert, key := a.member(name)
	cfg := raft.TLSConfig{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), CAFile: filepath.Join(dir, "ca.pem"),
	}
	for file, content := range map[string][]byte{cfg.CertFile: cert, cfg.KeyFile: key, cfg.CAFile: a.pem()} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cfg
}

func (a *authority) network(name string) raft.Network {
	n, err := raft.TLS(a.write(a.t.TempDir(), name))
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// echo serves a network: what comes goes back.
func echo(t *testing.T, n raft.Network) string {
	l, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, io.LimitReader(c, 5))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// hears tells whether a network reaches the echo at an address.
func hears(t *testing.T, n raft.Network, address string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := n.Dial(ctx, address)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	answer, _ := io.ReadAll(c) // TLS 1.3 tells a client with the first answer that it was refused
	return string(answer) == "hello"
}

func TestTLSRefusesStrangers(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	address := echo(t, ours.network("a"))
	if !hears(t, ours.network("b"), address) {
		t.Error("a member is refused")
	}
	if hears(t, theirs.network("b"), address) {
		t.Error("a member of another cluster is heard")
	}
	anonymous := tls.Config{InsecureSkipVerify: true}
	conn, err := tls.Dial("tcp", address, &anonymous)
	if err == nil {
		defer conn.Close()
		_, _ = conn.Write([]byte("hello"))
		if answer, _ := io.ReadAll(conn); len(answer) > 0 {
			t.Errorf("a peer without certificate gets %q", answer)
		}
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, _ = plain.Write([]byte("hello, I speak no TLS at all"))
	_ = plain.SetDeadline(time.Now().Add(10 * time.Second))
	if answer, _ := io.ReadAll(plain); bytes.Contains(answer, []byte("hello")) {
		t.Errorf("a peer without TLS gets %q", answer)
	}
}

func TestTLSNames(t *testing.T) {
	ca := newAuthority(t)
	cfg := ca.write(t.TempDir(), "a")
	cfg.Names = []string{"a", "b"}
	n, err := raft.TLS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	address := echo(t, n)
	if !hears(t, ca.network("b"), address) {
		t.Error("b is refused")
	}
	if hears(t, ca.network("kubelet"), address) {
		t.Error("somebody else's certificate of the same authority is taken")
	}
}

// Peers that never end their handshakes do not keep members out, however many they are.
func TestTLSSlowHandshake(t *testing.T) {
	ca := newAuthority(t)
	address := echo(t, ca.network("a"))
	for range 300 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if !hears(t, ca.network("b"), address) {
		t.Error("a member is not heard")
	}
}

// Certificates and authorities can be replaced while the network is in use.
func TestTLSReload(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	n, err := raft.TLS(before.write(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	address := echo(t, n)
	if !hears(t, before.network("b"), address) || hears(t, after.network("b"), address) {
		t.Fatal("wrong before the change")
	}
	after.write(dir, "a")
	for deadline := time.Now().Add(time.Minute); !hears(t, after.network("b"), address); {
		if time.Now().After(deadline) {
			t.Fatal("the new authority does not count")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if hears(t, before.network("b"), address) {
		t.Error("the old authority still counts")
	}
	// Half a change leaves what there was.
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	if !hears(t, after.network("b"), address) {
		t.Error("a broken file ends it")
	}
}

func TestTLSConfigMistakes(t *testing.T) {
	dir := t.TempDir()
	good := newAuthority(t).write(dir, "a")
	for name, cfg := range map[string]raft.TLSConfig{
		"nothing":      {},
		"no authority": {CertFile: good.CertFile, KeyFile: good.KeyFile},
		"no such file": {CertFile: filepath.Join(dir, "none"), KeyFile: good.KeyFile, CAFile: good.CAFile},
		"both":         {CertFile: good.CertFile, Certificate: func() (*tls.Certificate, error) { return nil, nil }},
		"no PEM":       {CertFile: good.CertFile, KeyFile: good.KeyFile, CAFile: good.KeyFile},
	} {
		if _, err := raft.TLS(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
