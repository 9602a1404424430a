// Package serviceaccount issues and checks the tokens of service accounts, as kube-apiserver does: JSON Web Tokens
// (RFC 7519) that are bound to an account and maybe to a pod, node or secret, and that end with it
// (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/).
//
//	tokens, err := serviceaccount.New(serviceaccount.Config{Key: key})
//	server, err := apiserver.New(apiserver.Config{..., Authentication: apiserver.AuthenticationConfig{ServiceAccounts: tokens}})
package serviceaccount

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/inboard/inboard/apiserver"
)

// DefaultIssuer is what clusters of kubeadm are called.
const DefaultIssuer = "https://kubernetes.default.svc.cluster.local"

// Config describes the tokens of a cluster. Only Key has no default.
type Config struct {
	// Key signs new tokens: an *ecdsa.PrivateKey on P-256, P-384 or P-521, or an *rsa.PrivateKey.
	Key crypto.Signer
	// OldKeys are further public keys whose tokens are good, as those of keys that signed before.
	OldKeys []crypto.PublicKey
	// Issuer is whom new tokens say they are from, DefaultIssuer by default. For OpenID discovery it must be
	// an https URL at which the API server can be reached.
	Issuer string
	// OldIssuers are accepted as well.
	OldIssuers []string
	// Audiences are those of the API server: what tokens are for that are asked for without any. The
	// default is Issuer.
	Audiences []string
	// JWKSURI is where clients find the public keys, by default /openid/v1/jwks at Issuer.
	JWKSURI string
	// MaxExpiration is the longest time that a token may last, at least an hour; 0 is 2^32 s.
	MaxExpiration time.Duration
}

// Tokens issues and checks tokens. It is safe for concurrent use.
type Tokens struct {
	cfg     Config
	issuers []string
	now     func() time.Time
	rotate  sync.Mutex
	keys    atomic.Pointer[keySet]
}

var _ apiserver.ServiceAccountTokens = (*Tokens)(nil)

// New returns Tokens. The error tells what is wrong with cfg.
func New(cfg Config) (*Tokens, error) {
	if cfg.Key == nil {
		return nil, errors.New("serviceaccount: Config.Key is missing")
	}
	if cfg.Issuer == "" {
		cfg.Issuer = DefaultIssuer
	}
	if len(cfg.Audiences) == 0 {
		cfg.Audiences = []string{cfg.Issuer}
	}
	if strings.Contains(cfg.Issuer, ":") {
		if _, err := url.Parse(cfg.Issuer); err != nil {
			return nil, fmt.Errorf("serviceaccount: Config.Issuer: %w", err)
		}
	}
	if cfg.MaxExpiration != 0 && cfg.MaxExpiration < time.Hour {
		return nil, fmt.Errorf("serviceaccount: Config.MaxExpiration is %s, want an hour or more", cfg.MaxExpiration)
	}
	if cfg.JWKSURI == "" {
		cfg.JWKSURI = strings.TrimSuffix(cfg.Issuer, "/") + jwksPath
	}
	t := &Tokens{cfg: cfg, issuers: append([]string{cfg.Issuer}, cfg.OldIssuers...), now: time.Now}
	ks, err := newKeySet(cfg.Key, cfg.OldKeys)
	if err != nil {
		return nil, fmt.Errorf("serviceaccount: %w", err)
	}
	t.keys.Store(ks)
	return t, nil
}

// Audiences are those of the API server.
func (t *Tokens) Audiences() []string { return slices.Clone(t.cfg.Audiences) }

// Rotate makes another key sign new tokens. Tokens of the keys before stay good until Retire.
func (t *Tokens) Rotate(key crypto.Signer) error {
	t.rotate.Lock()
	defer t.rotate.Unlock()
	old := t.keys.Load()
	var public []crypto.PublicKey
	for _, k := range old.public {
		public = append(public, k.Key)
	}
	ks, err := newKeySet(key, public)
	if err != nil {
		return fmt.Errorf("serviceaccount: %w", err)
	}
	t.keys.Store(ks)
	return nil
}

// Retire makes the tokens of all keys but the one that signs void.
func (t *Tokens) Retire() error {
	t.rotate.Lock()
	defer t.rotate.Unlock()
	ks, err := newKeySet(t.keys.Load().key, nil)
	if err != nil {
		return fmt.Errorf("serviceaccount: %w", err)
	}
	t.keys.Store(ks)
	return nil
}

// keySet is a set of keys with what they were seen to have signed. It is replaced as a whole.
type keySet struct {
	key    crypto.Signer
	signer jose.Signer
	public []jose.JSONWebKey // the signer's first

	mu       sync.Mutex
	verified map[[sha256.Size]byte]*claims
}

// maxVerified bounds how many tokens are remembered.
const maxVerified = 4096

func newKeySet(key crypto.Signer, old []crypto.PublicKey) (*keySet, error) {
	ks := &keySet{key: key, verified: map[[sha256.Size]byte]*claims{}}
	for _, k := range append([]crypto.PublicKey{key.Public()}, old...) {
		public, err := publicKey(k)
		if err != nil {
			return nil, err
		}
		same := func(o jose.JSONWebKey) bool { return o.KeyID == public.KeyID }
		if !slices.ContainsFunc(ks.public, same) {
			ks.public = append(ks.public, public)
		}
	}
	private := ks.public[0]
	private.Key = key
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(private.Algorithm), Key: private}, nil)
	if err != nil {
		return nil, fmt.Errorf("the key can't sign: %w", err)
	}
	ks.signer = signer
	return ks, nil
}

// find returns the keys that a token may have been signed by; the ID is a hint that it may lack.
func (ks *keySet) find(id string) []jose.JSONWebKey {
	if id == "" {
		return ks.public
	}
	for i := range ks.public {
		if ks.public[i].KeyID == id {
			return ks.public[i : i+1]
		}
	}
	return nil
}
