package apiserver

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// RequestHeader tells whose word about users in the headers of requests is taken, as kube-apiserver's flags
// --requestheader-* do: that of front proxies, which prove who they are by a certificate. The TLS configuration
// of the server must accept, and verify, these certificates.
type RequestHeader struct {
	// CA has the authorities of front proxies' certificates, in PEM. They sign no users': who has a certificate of
	// theirs is nobody by it.
	CA []byte
	// AllowedNames are the common names of front proxies; none is any.
	AllowedNames []string
	// Headers with the name, the UID and the groups of a user, and what the names of headers with further
	// attributes begin with. The defaults are X-Remote-User, X-Remote-Uid, X-Remote-Group and X-Remote-Extra-.
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

// WithDefaults returns a copy with the names of headers filled in.
func (h RequestHeader) WithDefaults() RequestHeader {
	for _, d := range []struct {
		to    *[]string
		value string
	}{
		{&h.UsernameHeaders, "X-Remote-User"}, {&h.UIDHeaders, "X-Remote-Uid"},
		{&h.GroupHeaders, "X-Remote-Group"}, {&h.ExtraHeaderPrefixes, "X-Remote-Extra-"},
	} {
		if len(*d.to) == 0 {
			*d.to = []string{d.value}
		}
	}
	return h
}

// frontProxies is a RequestHeader that is ready to be asked.
type frontProxies struct {
	RequestHeader
	pool *x509.CertPool
	own  []*x509.Certificate
}

func newFrontProxies(h *RequestHeader) (*frontProxies, error) {
	if h == nil {
		return nil, nil
	}
	f := &frontProxies{RequestHeader: h.WithDefaults(), pool: x509.NewCertPool()}
	for text := h.CA; ; {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("apiserver: Config.Authentication.RequestHeader.CA: %w", err)
		}
		f.pool.AddCert(cert)
		f.own = append(f.own, cert)
	}
	if len(f.own) == 0 {
		return nil, errors.New("apiserver: Config.Authentication.RequestHeader.CA has no PEM certificate")
	}
	return f, nil
}

var errNobodysCertificate = errors.New("x509: the certificate is a front proxy's, which names no user")

// identity returns whom a front proxy names; ok is false for all other requests.
func (f *frontProxies) identity(r *http.Request) (id Identity, ok bool, err error) {
	if f == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return Identity{}, false, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	opts := x509.VerifyOptions{Roots: f.pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, cert := range r.TLS.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return Identity{}, false, nil // a user's, or nobody's
	}
	if name := leaf.Subject.CommonName; len(f.AllowedNames) > 0 && !slices.Contains(f.AllowedNames, name) {
		return Identity{}, false, fmt.Errorf("x509: subject with cn=%s is not in the allowed list", name)
	}
	if id.User = firstOf(r.Header, f.UsernameHeaders); id.User == "" {
		return Identity{}, false, errNobodysCertificate
	}
	id.UID = firstOf(r.Header, f.UIDHeaders)
	for _, name := range f.GroupHeaders {
		id.Groups = append(id.Groups, slices.DeleteFunc(slices.Clone(r.Header.Values(name)), func(g string) bool { return g == "" })...)
	}
	for _, prefix := range f.ExtraHeaderPrefixes {
		for name, values := range r.Header {
			if hasPrefixFold(name, prefix) {
				if id.Extra == nil {
					id.Extra = map[string][]string{}
				}
				key := extraKey(name[len(prefix):])
				id.Extra[key] = append(id.Extra[key], values...)
			}
		}
	}
	return id, true, nil
}

// signed tells whether a verified chain of certificates ends at an authority of front proxies.
func (f *frontProxies) signed(chain []*x509.Certificate) bool {
	if f == nil || len(chain) == 0 {
		return false
	}
	last := chain[len(chain)-1]
	return slices.ContainsFunc(f.own, func(ca *x509.Certificate) bool { return bytes.Equal(ca.Raw, last.Raw) })
}

func firstOf(h http.Header, names []string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
