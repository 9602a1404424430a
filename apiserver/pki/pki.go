// Package pki makes the certificates of a cluster: an authority that is made once and kept, serving
// certificates for the API server and kubelets, client certificates whose common name is the user and
// whose organizations are the groups (see
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates),
// and kubeconfig files. Keys are ECDSA P-256.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// How long certificates last, and how far back they begin, for clocks that are behind.
const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime      = 365 * 24 * time.Hour
	backdate          = 5 * time.Minute
)

// Authority is a certificate authority. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New returns a new authority that is kept nowhere.
func New(commonName string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: making a key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("pki: signing the authority's certificate: %w", err)
	}
	return authority(der, key)
}

func authority(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: the authority's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("pki: making a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// CertificatePEM returns the authority's certificate, as kubeconfig files and trust bundles have it.
func (a *Authority) CertificatePEM() []byte { return append([]byte(nil), a.pem...) }

// Signer returns the authority's certificate and its key, for what signs in its name.
func (a *Authority) Signer() (*x509.Certificate, crypto.Signer) { return a.cert, a.key }

// Pool returns a pool that trusts the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Pair is a certificate with its key.
type Pair struct {
	// TLS is ready to be served or presented.
	TLS tls.Certificate
	// CertificatePEM and KeyPEM are the same in PEM.
	CertificatePEM, KeyPEM []byte
}

// Client returns a client certificate for a user in some groups.
func (a *Authority) Client(user string, groups ...string) (*Pair, error) {
	if user == "" {
		return nil, errors.New("pki: a client certificate needs a user")
	}
	return a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// Server returns a serving certificate for some DNS names and IP addresses, the first of which is its
// common name.
func (a *Authority) Server(hosts ...string) (*Pair, error) {
	return a.hosts(hosts, x509.ExtKeyUsageServerAuth)
}

// Peer returns a certificate for both sides of the connections between equals, such as the members of a
// replicated store. Its names are as Server's.
func (a *Authority) Peer(hosts ...string) (*Pair, error) {
	return a.hosts(hosts, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

func (a *Authority) hosts(hosts []string, usages ...x509.ExtKeyUsage) (*Pair, error) {
	if len(hosts) == 0 {
		return nil, errors.New("pki: a serving certificate needs a host name or address")
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: hosts[0]}, ExtKeyUsage: usages}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return a.sign(template)
}

// sign completes a template, makes a key for it and signs it.
func (a *Authority) sign(template *x509.Certificate) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: making a key: %w", err)
	}
	if template.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(leafLifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("pki: signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return &Pair{
		TLS:            tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:         keyPEM,
	}, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// ServerTLS returns the configuration of a server that presents a certificate and accepts, but does
// not ask for, client certificates of the authority, and of others: an API server must also accept those of front
// proxies, whose authority must not be that of users (see apiserver.RequestHeader).
func (a *Authority) ServerTLS(serving *Pair, others ...*Authority) *tls.Config {
	clients := a.Pool()
	for _, other := range others {
		clients.AddCert(other.cert)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{serving.TLS},
		ClientCAs:    clients,
		ClientAuth:   tls.VerifyClientCertIfGiven,
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

// ClientTLS returns the configuration of a client that trusts the authority and presents a
// certificate, if it is given one.
func (a *Authority) ClientTLS(own *Pair) *tls.Config {
	c := &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS12}
	if own != nil {
		c.Certificates = []tls.Certificate{own.TLS}
	}
	return c
}
