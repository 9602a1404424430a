package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files of an authority.
const (
	certFile = "ca.crt"
	keyFile  = "ca.key"
)

// Load returns the authority that is kept in a directory, and makes one there if there is none. The
// key's file is readable by its owner only.
func Load(dir, commonName string) (*Authority, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return create(dir, commonName)
	}
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("pki: the authority's certificate is in %s, its key can't be read: %w", dir, err)
	}
	a, err := parse(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("pki: the authority in %s: %w; remove %s and %s to make a new one", dir, err, certFile, keyFile)
	}
	return a, nil
}

func create(dir, commonName string) (*Authority, error) {
	a, err := New(commonName)
	if err != nil {
		return nil, err
	}
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	// The key comes first: a certificate tells that both are there.
	if err := WriteFile(filepath.Join(dir, keyFile), key); err != nil {
		return nil, err
	}
	return a, WriteFile(filepath.Join(dir, certFile), a.pem)
}

// WriteFile replaces a file by one with the given content that its owner alone can read. A crash
// leaves the old or the new content.
func WriteFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error tells more
		return fmt.Errorf("pki: writing %s: %w", path, err)
	}
	return nil
}

func parse(certPEM, keyPEM []byte) (*Authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	if certBlock == nil || certBlock.Type != "CERTIFICATE" {
		return nil, errors.New("the certificate's file has no PEM certificate")
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	a, err := authority(certBlock.Bytes, key)
	if err != nil {
		return nil, err
	}
	public, ok := a.cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || !public.Equal(&key.PublicKey):
		return nil, errors.New("the certificate and the key do not belong together")
	case !a.cert.IsCA:
		return nil, errors.New("the certificate is not an authority's")
	case time.Now().After(a.cert.NotAfter):
		return nil, fmt.Errorf("the certificate expired on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	return a, nil
}

func parseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(bytes.TrimSpace(keyPEM))
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, errors.New("the key's file has no PEM key of the type EC PRIVATE KEY")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	return key, nil
}
