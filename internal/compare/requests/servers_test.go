package requests

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/serviceaccount"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/compare/kube"
)

// patience is how long an answer may take.
const patience = 20 * time.Second

// api is one of the two servers.
type api struct {
	url    string
	client *http.Client
	real   bool
}

// start starts both servers for the length of the test: kube-apiserver and ours.
func start(t *testing.T) (real, ours *api) {
	cfg := kube.Start(t)
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Redirects are answers like others.
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	real = &api{url: cfg.Host, client: hc, real: true}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := serviceaccount.New(serviceaccount.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.Open(t, func(c *apiserver.Config) {
		c.Kinds = policy.CheckSelectors(c.Kinds)
		c.Authentication.Tokens = map[string]apiserver.Identity{"compare": {User: "admin", UID: "admin", Groups: []string{apiserver.GroupMasters}}}
		c.Authentication.ServiceAccounts = tokens
		c.DisableAdmission = []string{"ServiceAccount"} // as package kube disables it
	})
	srv := httptest.NewServer(s.API.Handler())
	t.Cleanup(srv.Close)
	client := srv.Client()
	client.CheckRedirect = hc.CheckRedirect
	return real, &api{url: srv.URL, client: client}
}

// answer is what a server says to a request.
type answer struct {
	code   int
	header http.Header
	body   object
	text   string
}

// send sends a request. The answer's code is 0 when kube-apiserver panicked.
func (a *api) send(t *testing.T, r request) answer {
	t.Helper()
	if r.edit != nil {
		path, _, _ := strings.Cut(r.path, "?")
		got := a.send(t, request{method: "GET", path: path})
		if got.code != 200 {
			return got
		}
		r.edit(got.body)
		r.body = encoded(got.body)
	}
	if r.encode != nil {
		r.body = r.encode(r.body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, a.url+r.path, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer compare")
	req.Header.Set("Accept", jsonType)
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	resp, err := a.client.Do(req)
	if err != nil && a.real && strings.Contains(err.Error(), "INTERNAL_ERROR") {
		return answer{} // kube-apiserver panicked
	}
	if err != nil {
		return answer{code: -1, text: err.Error()}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{code: -1, text: err.Error()}
	}
	out := answer{code: resp.StatusCode, header: resp.Header}
	out.read(resp.Header.Get("Content-Type"), raw)
	return out
}

// read reads a body by its media type.
func (a *answer) read(media string, raw []byte) {
	switch media, params, _ := strings.Cut(media, ";"); media {
	case yamlType:
		if yaml.Unmarshal(raw, &a.body) == nil {
			return
		}
	case protoType:
		body, err := fromProto(raw)
		if strings.Contains(params, "stream=watch") {
			body, err = fromProtoStream(raw)
		}
		if err == nil {
			a.body = body
			return
		}
	default:
		if json.Unmarshal(raw, &a.body) == nil {
			return
		}
	}
	a.body, a.text = nil, string(raw)
}
