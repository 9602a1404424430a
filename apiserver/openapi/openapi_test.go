package openapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/kube-openapi/pkg/spec3"
	openapiproto "k8s.io/kube-openapi/pkg/util/proto"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
)

const protoV2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	h := apiserver.OpenAPI(kinds.All(), "v1.37.2")
	return getFrom(h, path, header...)
}

func getFrom(h http.Handler, path string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", r.StatusCode, b)
	}
	return b
}

// Kubernetes' own reader of version 3 finds what kubectl looks for.
func TestV3(t *testing.T) {
	var root struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(body(t, get(t, "/openapi/v3")), &root); err != nil {
		t.Fatal(err)
	}
	for _, gv := range []string{"api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1", "apis/coordination.k8s.io/v1"} {
		var doc spec3.OpenAPI
		raw := body(t, get(t, root.Paths[gv].ServerRelativeURL, "Accept", "application/json"))
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatalf("%s: %v", gv, err)
		}
		checkRefs(t, gv, raw, "#/components/schemas/", func(name string) bool { return doc.Components.Schemas[name] != nil })
		patches := 0
		for path, item := range doc.Paths.Paths {
			if item.Patch == nil {
				continue
			}
			patches++
			if _, ok := item.Patch.Extensions["x-kubernetes-group-version-kind"]; !ok {
				t.Errorf("%s: no group, version and kind", path)
			}
			found := false
			for _, p := range item.Patch.Parameters {
				found = found || p.Name == "fieldValidation"
			}
			if !found {
				t.Errorf("%s: no fieldValidation", path)
			}
		}
		if patches == 0 {
			t.Errorf("%s: no path takes a patch", gv)
		}
	}
}

// Both forms of version 2 say the same, by the readers that kubectl has.
func TestV2(t *testing.T) {
	raw := body(t, get(t, "/openapi/v2"))
	var swagger spec.Swagger
	if err := json.Unmarshal(raw, &swagger); err != nil {
		t.Fatal(err)
	}
	checkRefs(t, "v2", raw, "#/definitions/", func(name string) bool { _, ok := swagger.Definitions[name]; return ok })

	want, err := openapi_v2.ParseDocument(raw)
	if err != nil {
		t.Fatal(err)
	}
	var got openapi_v2.Document
	response := get(t, "/openapi/v2", "Accept", protoV2)
	if err := proto.Unmarshal(body(t, response), &got); err != nil {
		t.Fatal(err)
	}
	if n := len(got.Definitions.AdditionalProperties); n != len(want.Definitions.AdditionalProperties) || n != len(swagger.Definitions) {
		t.Errorf("%d definitions in protobuf, %d in JSON", n, len(swagger.Definitions))
	}
	gotText, err := got.YAMLValue("")
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := want.YAMLValue("")
	if err != nil {
		t.Fatal(err)
	}
	var gotDoc, wantDoc any
	if err := errors.Join(yaml.Unmarshal(gotText, &gotDoc), yaml.Unmarshal(wantText, &wantDoc)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotDoc, wantDoc) {
		t.Error("the protobuf form does not say what the JSON form says:", difference("", gotDoc, wantDoc))
	}
	checkModels(t, &got)
}

func checkModels(t *testing.T, doc *openapi_v2.Document) {
	t.Helper()
	models, err := openapiproto.NewOpenAPIData(doc)
	if err != nil {
		t.Fatal(err)
	}
	pod, ok := models.LookupModel("io.k8s.api.core.v1.Pod").(*openapiproto.Kind)
	if !ok {
		t.Fatal("no model of Pod")
	}
	if gvk, ok := pod.GetExtensions()["x-kubernetes-group-version-kind"]; !ok {
		t.Errorf("Pod: no kind: %v", gvk)
	}
	podSpec := models.LookupModel("io.k8s.api.core.v1.PodSpec").(*openapiproto.Kind)
	containers := podSpec.Fields["containers"].GetExtensions()
	if containers["x-kubernetes-patch-merge-key"] != "name" || containers["x-kubernetes-list-type"] != "map" {
		t.Errorf("PodSpec.containers: %v", containers)
	}
}

func checkRefs(t *testing.T, what string, doc []byte, prefix string, exists func(string) bool) {
	t.Helper()
	for _, part := range strings.Split(string(doc), `"$ref":"`)[1:] {
		ref, _, _ := strings.Cut(part, `"`)
		if name, ok := strings.CutPrefix(ref, prefix); !ok || !exists(name) {
			t.Errorf("%s: %s leads nowhere", what, ref)
		}
	}
}

// difference returns the path to the first difference of two documents.
func difference(path string, a, b any) string {
	ma, aok := a.(map[string]any)
	mb, bok := b.(map[string]any)
	if !aok || !bok {
		return fmt.Sprintf("%s: %.200v and %.200v", path, a, b)
	}
	for k := range mb {
		if !reflect.DeepEqual(ma[k], mb[k]) {
			return difference(path+"/"+k, ma[k], mb[k])
		}
	}
	return path + ": more than wanted"
}

func TestCaching(t *testing.T) {
	h := apiserver.OpenAPI(kinds.All(), "")
	var root struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(body(t, getFrom(h, "/openapi/v3")), &root); err != nil {
		t.Fatal(err)
	}
	url := root.Paths["apis/apps/v1"].ServerRelativeURL
	first := getFrom(h, url)
	if got := first.Header.Get("Cache-Control"); got != "public, immutable" {
		t.Errorf("Cache-Control: %q", got)
	}
	if got := getFrom(h, url, "If-None-Match", first.Header.Get("Etag")).StatusCode; got != http.StatusNotModified {
		t.Errorf("status with the right ETag: %d", got)
	}
	old := getFrom(h, "/openapi/v3/apis/apps/v1?hash=OLD")
	if old.StatusCode != http.StatusMovedPermanently || old.Header.Get("Location") != url {
		t.Errorf("an old hash: %d %s", old.StatusCode, old.Header.Get("Location"))
	}
	if got := getFrom(h, "/openapi/v3/apis/none/v1").StatusCode; got != http.StatusNotFound {
		t.Errorf("an unknown group: %d", got)
	}
	if got := getFrom(h, "/openapi/v2", "Accept", "text/html").StatusCode; got != http.StatusNotAcceptable {
		t.Errorf("an unknown media type: %d", got)
	}
	zipped := getFrom(h, url, "Accept-Encoding", "gzip")
	if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.ContentLength > 100_000 {
		t.Errorf("compressed: %q, %d bytes", zipped.Header.Get("Content-Encoding"), zipped.ContentLength)
	}
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		h := apiserver.OpenAPI(kinds.All(), "")
		if r := getFrom(h, "/openapi/v3"); r.StatusCode != http.StatusOK {
			b.Fatal(r.Status)
		}
	}
}
