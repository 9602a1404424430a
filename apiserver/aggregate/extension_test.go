package aggregate_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inboard/inboard/apiserver/pki"
)

// extension is a server of wardle.example.com/v1alpha1, which tells what it is asked.
type extension struct {
	*httptest.Server
	// older makes it one that knows neither the newer form of discovery nor version 3 of OpenAPI, broken one that
	// has nothing but errors.
	older, broken atomic.Bool
	discoveries   atomic.Int64
	unchanged     atomic.Int64
}

// newExtension starts a server with a certificate for a DNS name, that takes requests from front proxies alone.
func newExtension(t testing.TB, ca, frontProxies *pki.Authority, name string) *extension {
	t.Helper()
	e := &extension{}
	e.Server = httptest.NewUnstartedServer(e)
	e.TLS = &tls.Config{
		Certificates: []tls.Certificate{ok(ca.Server(name)).TLS}, ClientCAs: frontProxies.Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	e.EnableHTTP2 = true
	e.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that end early
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

const (
	wardle       = "/apis/wardle.example.com/v1alpha1"
	resourceList = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"wardle.example.com/v1alpha1","resources":[
		{"name":"flunders","singularName":"flunder","namespaced":true,"kind":"Flunder","verbs":["create","delete","get","list","watch"],"shortNames":["fl"]},
		{"name":"flunders/status","singularName":"","namespaced":true,"kind":"Flunder","verbs":["get"]}]}`
	groupDiscovery = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":"wardle.example.com"},
		"versions":[{"version":"v1alpha1","freshness":"Current","resources":[{"resource":"flunders","scope":"Namespaced","singularResource":"flunder",
		"responseKind":{"group":"","version":"","kind":"Flunder"},"verbs":["create","delete","get","list","watch"],"shortNames":["fl"]}]}]}]}`
	swagger = `{"swagger":"2.0","info":{"title":"wardle","version":"v0"},"paths":{
		"/apis/wardle.example.com/v1alpha1/flunders":{"get":{"operationId":"listFlunders","responses":{"200":{"description":"OK","schema":{"$ref":"#/definitions/Flunder"}}}}},
		"/apis/other.example.com/v1/things":{"get":{"responses":{"200":{"description":"OK"}}}}},
		"definitions":{"Flunder":{"type":"object","description":"a flunder","properties":{"spec":{"type":"string"}},
		"x-kubernetes-group-version-kind":[{"group":"wardle.example.com","version":"v1alpha1","kind":"Flunder"}]},"Thing":{"type":"object"}}}`
	specV3 = `{"openapi":"3.0.0","info":{"title":"wardle"},"paths":{},"components":{"schemas":{"Flunder":{"type":"object"}}}}`
)

func (e *extension) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := func(kind, text string) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, text)
	}
	switch path := r.URL.Path; {
	case e.broken.Load():
		http.Error(w, "broken", http.StatusInternalServerError)
	case path == "/apis" && !e.older.Load() && strings.Contains(r.Header.Get("Accept"), "APIGroupDiscoveryList"):
		e.discoveries.Add(1)
		if r.Header.Get("If-None-Match") == `"one"` {
			e.unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"one"`)
		answer("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", groupDiscovery)
	case path == "/apis":
		answer("application/json", `{"kind":"APIGroupList","groups":[]}`)
	case path == wardle:
		answer("application/json", resourceList)
	case path == "/openapi/v2":
		answer("application/json", swagger)
	case path == "/openapi/v3" && !e.older.Load():
		answer("application/json", `{"paths":{"apis/wardle.example.com/v1alpha1":{"serverRelativeURL":"/openapi/v3`+wardle+`?hash=1"}}}`)
	case path == "/openapi/v3"+wardle && !e.older.Load():
		answer("application/json", specV3)
	case strings.HasPrefix(path, wardle+"/") && r.Header.Get("Upgrade") != "":
		e.upgrade(w, r)
	case strings.HasPrefix(path, wardle+"/") && r.URL.Query().Get("watch") != "":
		e.watch(w, r)
	case strings.HasPrefix(path, wardle+"/"):
		answer("application/json", e.echo(r))
	default:
		http.NotFound(w, r)
	}
}

// echo tells of a request.
func (e *extension) echo(r *http.Request) string {
	said := map[string]any{"kind": "Echo", "method": r.Method, "path": r.URL.RequestURI(), "proxy": r.TLS.PeerCertificates[0].Subject.CommonName}
	headers := []string{}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Remote-") || name == "Authorization" || strings.HasPrefix(name, "Impersonate-") {
			headers = append(headers, name+": "+strings.Join(values, ","))
		}
	}
	slices.Sort(headers)
	said["headers"] = headers
	if body, _ := io.ReadAll(r.Body); len(body) > 0 {
		said["body"] = string(body)
	}
	b, _ := json.Marshal(said) // of texts
	return string(b)
}

// watch sends an event, and the next when the client goes away or the test ends.
func (e *extension) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"type":"ADDED","object":{"kind":"Flunder","apiVersion":"wardle.example.com/v1alpha1","metadata":{"name":"a"}}}`+"\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// upgrade speaks a protocol of its own: it sends each line back.
func (e *extension) upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello %s\n", r.Header.Get("X-Remote-User"))
	_ = rw.Flush()
	line, err := rw.ReadString('\n')
	if err == nil {
		_, _ = io.WriteString(conn, "you said "+line)
	}
}
