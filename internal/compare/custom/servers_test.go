package custom

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/compare/kube"
)

type object = map[string]any

const (
	jsonType      = "application/json"
	yamlType      = "application/yaml"
	cborType      = "application/cbor"
	mergeType     = "application/merge-patch+json"
	patchType     = "application/json-patch+json"
	strategicType = "application/strategic-merge-patch+json"
	applyType     = "application/apply-patch+yaml"
	patience      = 30 * time.Second
)

// api is one of the two servers.
type api struct {
	url    string
	client *http.Client
}

// pair are both servers.
type pair struct{ real, ours *api }

// start starts kube-apiserver and ours for the length of the test.
func start(t *testing.T) pair {
	cfg := kube.Start(t)
	hc, err := rest.HTTPClientFor(cfg)
	must(t, err)
	var defs *crd.Definitions
	s := apitest.Open(t, func(c *apiserver.Config) {
		defs, err = crd.New(crd.Config{Store: c.Store})
		must(t, err)
		t.Cleanup(func() { _ = defs.Close() })
		c.Kinds = append(c.Kinds, defs.Kinds()...)
		c.Sources = append(c.Sources, defs)
		c.Admission = append(c.Admission, defs.Admission()...)
		c.Authentication.Tokens = map[string]apiserver.Identity{"compare": {User: "admin", UID: "admin", Groups: []string{apiserver.GroupMasters}}}
		c.DisableAdmission = []string{"ServiceAccount"} // as package kube disables it
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := defs.Run(ctx, s.As("kube-apiserver", apiserver.GroupMasters)); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(s.API.Handler())
	t.Cleanup(func() { cancel(); wg.Wait(); srv.Close() })
	return pair{real: &api{url: cfg.Host, client: hc}, ours: &api{url: srv.URL, client: srv.Client()}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// request is what is sent. Edit, when not nil, makes the body from the object as it is on each server.
type request struct {
	method, path, media, accept string
	body                        []byte
	edit                        func(live object)
}

func (r *request) String() string {
	return fmt.Sprintf("%s %s %s %s %s", r.method, r.path, r.media, r.accept, r.body)
}

// answer is what a server says to a request.
type answer struct {
	code     int
	media    string
	warnings []string
	body     object
	text     string
	events   []any
}

func (a *api) send(t testing.TB, r request) answer {
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, a.url+r.path, bytes.NewReader(r.body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer compare")
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", "compare/1")
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{code: -1, text: err.Error()}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{code: -1, text: err.Error()}
	}
	out := answer{code: resp.StatusCode, media: resp.Header.Get("Content-Type"), warnings: resp.Header.Values("Warning")}
	out.read(raw, strings.Contains(r.path, "watch=1"))
	return out
}

// read reads a body by its media type.
func (a *answer) read(raw []byte, watch bool) {
	var err error
	switch media, _, _ := strings.Cut(a.media, ";"); {
	case watch && media == jsonType:
		for d := json.NewDecoder(bytes.NewReader(raw)); err == nil; {
			var event any
			if err = d.Decode(&event); err == nil {
				a.events = append(a.events, event)
			}
		}
		if err == io.EOF {
			return
		}
	case media == yamlType:
		err = yaml.Unmarshal(raw, &a.body)
	case media == cborType:
		err = direct.Unmarshal(raw, &a.body)
	default:
		err = json.Unmarshal(raw, &a.body)
	}
	if err != nil {
		a.body, a.text = nil, string(raw)
	}
}

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// both sends a request to both servers at once.
func (p pair) both(t testing.TB, r request) (want, got answer) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { want = p.real.send(t, r) })
	got = p.ours.send(t, r)
	wg.Wait()
	return want, got
}
