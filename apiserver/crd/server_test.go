package crd_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

const simple = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: foos.example.com
spec:
  group: example.com
  scope: Cluster
  names: {plural: foos, kind: Foo}
  CONVERSION
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {a: {type: string}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {b: {type: string}}}}}
`

var plain = strings.Replace(simple, "  CONVERSION\n", "", 1)

// TestSeveralServers writes at a server that establishes nothing right after another one established a definition.
func TestSeveralServers(t *testing.T) {
	st := openStore(t)
	first, second := newServer(t, st), newServer(t, st)
	first.run(t)
	first.define(t, plain)
	second.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"x"},"a":"1"}`)
	if list := second.must(t, "GET", "/apis/example.com", ""); !strings.Contains(list, "example.com/v2") {
		t.Errorf("discovery of the second server: %s", list)
	}
	first.must(t, "DELETE", definitionsPath+"/foos.example.com", "")
	second.await(t, "foos.example.com", func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil })
	for _, s := range []server{first, second} {
		if a := s.do("GET", "/apis/example.com/v1/foos/x", ""); a.Code != http.StatusNotFound {
			t.Errorf("after the definition is gone: %d", a.Code)
		}
	}
	// A new definition of the name does not bring the objects back.
	first.define(t, plain)
	if list := second.must(t, "GET", "/apis/example.com/v1/foos", ""); strings.Contains(list, `"x"`) {
		t.Errorf("objects survived: %s", list)
	}
}

// hook converts between a of v1 and b of v2, and fails when it is told to.
type hook struct {
	fail  atomic.Bool
	calls atomic.Int32
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.calls.Add(1)
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || h.fail.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, o := range review.Request.Objects {
		u := &unstructured.Unstructured{}
		_ = json.Unmarshal(o.Raw, u) // the test sees what comes of it
		from, to := "a", "b"
		if strings.HasSuffix(review.Request.DesiredAPIVersion, "v1") {
			from, to = to, from
		}
		if v, ok := u.Object[from]; ok {
			u.Object[to] = v
			delete(u.Object, from)
		}
		u.SetAPIVersion(review.Request.DesiredAPIVersion)
		answer.ConvertedObjects = append(answer.ConvertedObjects, runtime.RawExtension{Object: u})
	}
	review.Request, review.Response = nil, answer
	_ = json.NewEncoder(w).Encode(&review)
}

// bundle is the caBundle for a webhook.
func bundle(at *httptest.Server) string {
	b, _ := json.Marshal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Certificate().Raw}))
	return string(b)
}

func TestConversionWebhook(t *testing.T) {
	h := &hook{}
	at := httptest.NewTLSServer(h)
	t.Cleanup(at.Close)
	s := start(t)
	s.define(t, strings.Replace(simple, "CONVERSION", `conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "`+
		at.URL+`", caBundle: `+bundle(at)+`}}}`, 1))
	s.must(t, "POST", "/apis/example.com/v2/foos", `{"apiVersion":"example.com/v2","kind":"Foo","metadata":{"name":"x","labels":{"l":"1"}},"b":"1"}`)
	if got := s.must(t, "GET", "/apis/example.com/v1/foos/x", ""); !strings.Contains(got, `"a":"1"`) || strings.Contains(got, `"b"`) || !strings.Contains(got, `"l":"1"`) {
		t.Errorf("as v1: %s", got)
	}
	if got := s.must(t, "GET", "/apis/example.com/v2/foos/x", ""); !strings.Contains(got, `"b":"1"`) {
		t.Errorf("as v2: %s", got)
	}
	before := h.calls.Load()
	s.must(t, "GET", "/apis/example.com/v2/foos/x", "")
	if again := h.calls.Load(); again != before {
		t.Errorf("reading what was read already asks the webhook %d times", again-before)
	}
	// What fails once is tried again.
	s.must(t, "PATCH", "/apis/example.com/v1/foos/x", `{"a":"2"}`, "Content-Type", "application/merge-patch+json")
	h.fail.Store(true)
	if a := s.do("GET", "/apis/example.com/v2/foos/x", ""); a.Code != http.StatusInternalServerError || !strings.Contains(a.Body.String(), "conversion webhook for example.com/v1, Kind=Foo failed") {
		t.Errorf("with a broken webhook: %d %s", a.Code, a.Body)
	}
	h.fail.Store(false)
	if got := s.must(t, "GET", "/apis/example.com/v2/foos/x", ""); !strings.Contains(got, `"b":"2"`) {
		t.Errorf("as v2, mended: %s", got)
	}
}

// TestOpenAPI looks at what is published for kubectl explain.
func TestOpenAPI(t *testing.T) {
	s := start(t)
	s.define(t, plain)
	for path, accept := range map[string]string{"/openapi/v3/apis/example.com/v1": "application/json", "/openapi/v2": "application/json"} {
		doc := s.must(t, "GET", path, "", "Accept", accept)
		for _, want := range []string{`"com.example.v1.Foo":{`, `"com.example.v1.FooList":{`, `{"group":"example.com","kind":"Foo","version":"v1"}`, `/apis/example.com/v1/foos/{name}`} {
			if !strings.Contains(doc, want) {
				t.Errorf("%s lacks %s", path, want)
			}
		}
	}
}
