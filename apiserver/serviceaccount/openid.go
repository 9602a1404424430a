package serviceaccount

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	configPath = "/.well-known/openid-configuration"
	jwksPath   = "/openid/v1/jwks"
)

// Paths are those of OpenID discovery (https://openid.net/specs/openid-connect-discovery-1_0.html), by which others
// can check tokens.
func (t *Tokens) Paths() []string { return []string{configPath, jwksPath} }

// ServeHTTP serves Paths.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	keys := jose.JSONWebKeySet{Keys: t.keys.Load().public}
	var doc any = keys
	media := "application/jwk-set+json"
	switch r.URL.Path {
	case configPath:
		media, doc = "application/json", t.configuration(keys.Keys)
	case jwksPath:
	default:
		http.NotFound(w, r)
		return
	}
	b, err := json.Marshal(doc)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write(b) // the client is gone
}

// configuration is OpenID's provider metadata, as far as it says something of these tokens.
func (t *Tokens) configuration(keys []jose.JSONWebKey) any {
	var algs []string
	for i := range keys {
		algs = append(algs, keys[i].Algorithm)
	}
	slices.Sort(algs)
	return struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		SigningAlgs   []string `json:"id_token_signing_alg_values_supported"`
	}{t.cfg.Issuer, t.cfg.JWKSURI, []string{"id_token"}, []string{"public"}, slices.Compact(algs)}
}
