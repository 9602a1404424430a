package apiserver_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/bootstraptoken"
	"github.com/inboard/inboard/apiserver/kinds"
)

// send sends a request that a fuzzer made; it gives up on none that would wait.
func send(t *testing.T, s http.Handler, method, path, query, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a watch ends at once
	if !strings.Contains(query, "watch") {
		ctx = t.Context()
	}
	r := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
	r.URL = &url.URL{Path: path, RawQuery: query}
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { // what a watch ends with
				panic(p)
			}
		}()
		s.ServeHTTP(w, r)
	}()
	if w.Code >= http.StatusInternalServerError && w.Code != http.StatusGatewayTimeout {
		t.Errorf("%s %s?%q with %q %v: %d %s", method, path, query, body, header, w.Code, w.Body)
	}
	return w
}

// FuzzBodies creates objects of every kind in every format. What is accepted reads the same in all of them.
func FuzzBodies(f *testing.F) {
	served := slices.DeleteFunc(kinds.All(), func(k apiserver.Kind) bool { return k.Review != nil })
	for i, k := range served {
		o := k.Object.DeepCopyObject().(metav1.Object)
		o.SetName("a")
		text, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), byte(0), string(text))
		if m, ok := o.(interface{ Marshal() ([]byte, error) }); ok {
			raw, err := m.Marshal()
			if err != nil {
				f.Fatal(err)
			}
			unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: k.GroupVersion().String(), Kind: k.GroupVersionKind.Kind}, Raw: raw}
			wrapped, err := unknown.Marshal()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(i), byte(2), "k8s\x00"+string(wrapped))
		}
	}
	f.Add(byte(0), byte(1), "metadata: {name: a, labels: {a: &x b, c: *x}}\n")
	s := newServer(f, asAdmin)
	prepareFuzz(f, s)
	f.Fuzz(func(t *testing.T, kind, media byte, body string) {
		k := served[int(kind)%len(served)]
		path := "/apis/" + k.Group + "/" + k.Version + "/"
		if k.Group == "" {
			path = "/api/" + k.Version + "/"
		}
		if k.Namespaced {
			path += "namespaces/default/"
		}
		path += k.Resource
		w := send(t, s, "POST", path, "dryRun=All", body, http.Header{"Content-Type": {fuzzTypes[int(media)%3]}})
		if w.Code != http.StatusCreated {
			return
		}
		again := send(t, s, "POST", path, "dryRun=All", w.Body.String(), http.Header{"Content-Type": {"application/json"}})
		if again.Code >= 400 && !strings.Contains(again.Body.String(), "resourceVersion") && !strings.Contains(again.Body.String(), "managedFields") {
			t.Logf("%s, accepted as %q, is refused as %s: %s", k.Resource, body, w.Body, again.Body)
		}
	})
}

// FuzzSelectors lists by any label selector: what comes is what apimachinery's own matching finds.
func FuzzSelectors(f *testing.F) {
	for _, text := range []string{"a=b", "a in (b, c),!d", "a notin (b)", "a!=b", "d", "n>1", "n<2", "a==b,", "x.y/z=", "a in ()", "((", "a=b,a=c", "\xff"} {
		f.Add(text, "metadata.name=one")
	}
	f.Add("", "metadata.name!=one,metadata.namespace=default")
	f.Add("", `data.k=a\,b\=c`)
	f.Add("a", "spec.nodeName")
	all := map[string]labels.Set{"one": {"a": "b", "n": "1"}, "two": {"a": "c", "d": "", "n": "2"}, "three": {}}
	s := newServer(f, asAdmin)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name, "labels": all[name]}, "data": map[string]string{"k": "a,b=c"}})
		if err != nil {
			f.Fatal(err)
		}
		if w := do(s, "POST", "/api/v1/namespaces/default/configmaps", string(text)); w.Code != http.StatusCreated {
			f.Fatal(w.Body)
		}
	}
	f.Fuzz(func(t *testing.T, label, fieldText string) {
		const path = "/api/v1/namespaces/default/configmaps"
		send(t, s, "GET", path, url.Values{"labelSelector": {label}, "fieldSelector": {fieldText}}.Encode(), "", nil)
		send(t, s, "GET", path, url.Values{"fieldSelector": {fieldText}, "watch": {"1"}, "resourceVersion": {"1"}}.Encode(), "", nil)
		w := send(t, s, "GET", path, url.Values{"labelSelector": {label}}.Encode(), "", nil)
		sel, err := labels.Parse(label)
		if (err == nil) != (w.Code == http.StatusOK) {
			t.Fatalf("%q: labels.Parse says %v, the server %d %s", label, err, w.Code, w.Body)
		}
		if err != nil {
			return
		}
		var got metav1.PartialObjectMetadataList
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, o := range got.Items {
			found[o.Name] = true
		}
		for name, set := range all {
			if sel.Matches(set) != found[name] {
				t.Errorf("%q: %s is listed: %v", label, name, found[name])
			}
		}
	})
}

// FuzzQuery sends any query with any verb to a resource and to one object.
func FuzzQuery(f *testing.F) {
	verbs := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	for i, q := range []string{
		"limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1",
		"resourceVersion=0&resourceVersionMatch=Exact", "timeoutSeconds=-1", "dryRun=All&fieldManager=x&fieldValidation=Strict", "propagationPolicy=Foreground&gracePeriodSeconds=1&orphanDependents=true",
		"limit=-1", "fieldManager=" + strings.Repeat("x", 200), "force=true", "pretty=1&includeObject=None", "a;b=%zz&&==", "watch=1&watch=0&timeoutSeconds=99999999999999999999", "exact=true&export=1",
	} {
		f.Add(byte(i), q, i%2 == 0)
	}
	s := newServer(f, asAdmin)
	prepareFuzz(f, s)
	f.Fuzz(func(t *testing.T, verb byte, query string, one bool) {
		method, path := verbs[int(verb)%len(verbs)], "/api/v1/namespaces/default/pods"
		if one {
			path += "/p"
		}
		body := `{"metadata":{"labels":{"a":"b"}}}`
		if method == "DELETE" {
			body, query = "", "dryRun=All&"+query
		}
		send(t, s, method, path, query, body, http.Header{"Content-Type": {"application/merge-patch+json"}})
		send(t, s, method, path, query, "", http.Header{"Accept": {"application/json;as=Table;v=v1;g=meta.k8s.io"}})
	})
}

// FuzzHeaders sends any credentials, media types and impersonation: whoever has no good token is nobody.
func FuzzHeaders(f *testing.F) {
	for _, accept := range []string{"*/*", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
		"application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io", "application/yaml;q=0.5,text/html", "application/cbor", ";;;=", "\xff", "application/json;stream=watch"} {
		f.Add("Bearer good", accept, "gzip", "jane", "devs")
	}
	for _, auth := range []string{"Bearer", "bearer good", "Bearer  good", "Bearer a.b.c", "Basic Z29vZDpnb29k", "Bearer abcdef.0123456789abcdef", "Bearer eyJhbGciOiJub25lIn0.e30.", "\x00"} {
		f.Add(auth, "", "deflate, gzip;q=0", "system:serviceaccount:default:default", "system:masters")
	}
	s := newServer(f, func(c *apiserver.Config) {
		c.Authentication.Tokens = map[string]apiserver.Identity{"good": {User: "good", Groups: []string{apiserver.GroupMasters}}}
		c.Authentication.Authenticators = []apiserver.TokenAuthenticator{bootstraptoken.Authenticator{}}
	})
	f.Fuzz(func(t *testing.T, auth, accept, encoding, user, group string) {
		h := http.Header{"Accept": {accept}, "Accept-Encoding": {encoding}}
		for _, path := range []string{"/api/v1/pods", "/apis", "/openapi/v2", "/openapi/v3/apis/apps/v1", "/api/v1/namespaces/default", "/version"} {
			h.Set("Authorization", "Bearer good")
			send(t, s, "GET", path, "", "", h)
		}
		h.Set("Authorization", auth)
		w := send(t, s, "GET", "/api/v1/secrets", "", "", http.Header{"Authorization": {auth}})
		word, token, _ := strings.Cut(auth, " ")
		if good := strings.EqualFold(word, "bearer") && strings.TrimSpace(token) == "good"; w.Code == http.StatusOK && !good {
			t.Errorf("%q reads secrets", auth)
		}
		h = http.Header{"Authorization": {"Bearer good"}, "Impersonate-User": {user}, "Impersonate-Group": {group}, "Impersonate-Extra-" + group: {user}}
		w = send(t, s, "GET", "/api/v1/secrets", "", "", h)
		if w.Code == http.StatusOK && group != apiserver.GroupMasters && user != "" {
			t.Errorf("%q of %q reads secrets", user, group)
		}
	})
}
