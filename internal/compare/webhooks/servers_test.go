package webhooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/webhook"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/compare/kube"
)

type object = map[string]any

const (
	jsonType  = "application/json"
	mergeType = "application/merge-patch+json"
	applyType = "application/apply-patch+yaml"
	patience  = time.Minute
)

// api is one of the two servers.
type api struct {
	name, url string
	client    *http.Client
	warnings  []string
}

// answer is what a server says to a request.
type answer struct {
	code     int
	body     object
	text     string
	warnings []string
}

func (a *api) send(t *testing.T, method, path, media string, body any) answer {
	t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		raw = encoded(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, bytes.NewReader(raw))
	must(t, err)
	req.Header.Set("Authorization", "Bearer compare")
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", "compare/1")
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := a.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	out := answer{code: resp.StatusCode, warnings: resp.Header.Values("Warning")}
	if json.Unmarshal(got, &out.body) != nil {
		out.text = string(got)
	}
	return out
}

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts both servers.
func start(t *testing.T) (real, ours *api) {
	cfg := kube.Start(t)
	hc, err := rest.HTTPClientFor(cfg)
	must(t, err)
	s := apitest.Open(t, func(c *apiserver.Config) {
		hooks, err := webhook.New(webhook.Config{Store: c.Store})
		must(t, err)
		t.Cleanup(func() { _ = hooks.Close() })
		c.Kinds = append(kinds.All(), webhook.Kinds()...)
		c.Admission = hooks.Admission()
		c.Authentication.Tokens = map[string]apiserver.Identity{"compare": {User: "admin", UID: "admin", Groups: []string{apiserver.GroupMasters}}}
		c.DisableAdmission = []string{"ServiceAccount"} // as package kube disables it
	})
	srv := httptest.NewServer(s.API.Handler())
	t.Cleanup(srv.Close)
	return &api{name: "real", url: cfg.Host, client: hc}, &api{name: "ours", url: srv.URL, client: srv.Client()}
}

const configurations = "/apis/admissionregistration.k8s.io/v1/"

// configure makes a server ask both kinds of webhooks about all, and waits until it does.
func configure(t *testing.T, hooks *hookServer, a *api) {
	t.Helper()
	for _, kind := range []string{"Mutating", "Validating"} {
		name := strings.ToLower(kind)
		c := object{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind + "WebhookConfiguration", "metadata": object{"name": "compare"},
			"webhooks": []any{object{
				"name": name + ".example.com", "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
				"clientConfig": object{"url": hooks.URL + "/" + a.name + "/" + name, "caBundle": hooks.ca()},
				"rules":        []any{object{"operations": []any{"*"}, "apiGroups": []any{"*"}, "apiVersions": []any{"*"}, "resources": []any{"*/*"}}},
				"matchPolicy":  "Exact",
			}},
		}
		path := configurations + name + "webhookconfigurations"
		if got := a.send(t, "POST", path, jsonType, c); got.code != http.StatusCreated {
			t.Fatalf("%s: %+v", a.name, got)
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		a.send(t, "POST", "/api/v1/namespaces?dryRun=All", jsonType, object{"metadata": object{"name": "probe"}})
		if len(hooks.take(a.name)) == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s asks no webhooks", a.name)
		}
	}
}

// sample returns a good object of a kind, nil when there is none.
func sample(t *testing.T, k *apiserver.Kind) object {
	t.Helper()
	raw, err := os.ReadFile("../kinds/testdata/" + strings.ToLower(k.GroupVersionKind.Kind) + ".yaml")
	must(t, err)
	doc, _, _ := strings.Cut(string(raw), "\n---\n")
	var o object
	must(t, yaml.Unmarshal([]byte(doc), &o))
	o["apiVersion"], o["kind"] = k.GroupVersion().String(), k.GroupVersionKind.Kind
	return o
}

// pathOf returns where the objects of a kind are.
func pathOf(k *apiserver.Kind) string {
	path := "/apis/" + k.GroupVersion().String()
	if k.Group == "" {
		path = "/api/" + k.Version
	}
	if k.Namespaced {
		path += "/namespaces/default"
	}
	return path + "/" + k.Resource
}

func (a answer) String() string {
	message := a.text
	if a.body["kind"] == "Status" {
		message = fmt.Sprint(a.body["reason"], " ", a.body["message"])
	}
	return fmt.Sprintf("%d %s %q", a.code, message, a.warnings)
}
