package apiserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var fuzzTypes = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
	"application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json", "text/plain", ""}

// FuzzRequest sends what nobody would: no request may end in a 5xx.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/api/v1/pods?limit=1&continue=e30&watch=0", "", byte(0), "application/json;as=Table;v=v1;g=meta.k8s.io")
	f.Add("POST", "/api/v1/namespaces/default/pods", `{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}`, byte(0), "")
	f.Add("POST", "/api/v1/namespaces/default/services", "metadata: {name: a}\nspec: {ports: [{port: 80}]}", byte(1), "application/yaml")
	f.Add("POST", "/api/v1/namespaces/default/configmaps", "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x00", byte(2), "application/vnd.kubernetes.protobuf")
	f.Add("PATCH", "/apis/apps/v1/namespaces/default/deployments/d", `{"spec":{"replicas":3,"template":{"$patch":"replace"}}}`, byte(5), "")
	f.Add("PATCH", "/api/v1/namespaces/default", `[{"op":"copy","from":"/metadata","path":"/metadata/labels"}]`, byte(4), "")
	f.Add("PUT", "/api/v1/namespaces/default/pods/p/status", `{"metadata":{"name":"p"},"status":{"phase":"Running"}}`, byte(0), "*/*")
	f.Add("DELETE", "/api/v1/namespaces/default/configmaps", `{"preconditions":{"uid":"x"}}`, byte(0), "")
	f.Add("POST", "/api/v1/namespaces/default/pods/p/binding", `{"target":{"name":"n"}}`, byte(0), "")
	s := newServer(f, asAdmin)
	prepareFuzz(f, s)
	f.Fuzz(func(t *testing.T, method, path, body string, media byte, accept string) {
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || strings.Contains(path, "/log") {
			return // no request, or one that goes on to a kubelet
		}
		query := u.Query()
		query.Set("timeoutSeconds", "0")
		if query.Has("watch") || strings.Contains(path, "/watch") {
			return // would wait for changes
		}
		u.RawQuery = query.Encode()
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", fuzzTypes[int(media)%len(fuzzTypes)])
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented {
			t.Errorf("%s %s with %q: %d %s", method, path, body, w.Code, w.Body)
		}
	})
}

func prepareFuzz(f *testing.F, s *apiserver.Server) {
	c := s.Client(admin)
	for _, o := range []client.Object{testPod("p"), testDeployment("d")} {
		gvr, err := c.ResourceFor(o)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := c.Create(f.Context(), client.Ref{GroupVersionResource: gvr, Namespace: "default"}, o, metav1.CreateOptions{}); err != nil {
			f.Fatal(err)
		}
	}
}

// FuzzPatch sends patches in process; each either makes an object that can be stored and read again or
// is refused.
func FuzzPatch(f *testing.F) {
	f.Add(byte(0), `{"spec":{"replicas":3}}`)
	f.Add(byte(1), `[{"op":"replace","path":"/spec/replicas","value":-3}]`)
	f.Add(byte(2), `{"spec":{"template":{"spec":{"containers":[{"name":"c","$patch":"delete"}],"$setElementOrder/containers":[{"name":"x"}]}}}}`)
	f.Add(byte(2), `{"metadata":{"finalizers":["a.b/c"],"$deleteFromPrimitiveList/finalizers":["a.b/c"],"$retainKeys":["name"]}}`)
	pts := []types.PatchType{types.MergePatchType, types.JSONPatchType, types.StrategicMergePatchType}
	s := newServer(f)
	prepareFuzz(f, s)
	c := s.Client(admin)
	gvr, err := c.ResourceFor(testDeployment("d"))
	if err != nil {
		f.Fatal(err)
	}
	ref := client.Ref{GroupVersionResource: gvr, Namespace: "default", Name: "d"}
	f.Fuzz(func(t *testing.T, pt byte, patch string) {
		var out runtime.Object
		out, err := c.Patch(t.Context(), ref, pts[int(pt)%len(pts)], []byte(patch), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			if code := reasonCode(err); code >= 500 {
				t.Errorf("%s: %d %v", patch, code, err)
			}
			return
		}
		o := out.(client.Object)
		if o.GetName() != "d" || o.GetNamespace() != "default" || o.GetUID() == "" {
			t.Errorf("%s made %s/%s %s", patch, o.GetNamespace(), o.GetName(), o.GetUID())
		}
	})
}

// FuzzApply applies configurations; what is accepted can be applied again and then changes nothing.
func FuzzApply(f *testing.F) {
	f.Add("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 2}\n", true)
	f.Add(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"a":null}},"spec":{"template":{"spec":{"containers":[{"name":"c","ports":[{"containerPort":80}]}]}}}}`, true)
	f.Add("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: c, env: [{name: A}, {name: A}]}]}}}\n", false)
	f.Add("a: &a [*a]", false)
	s := newServer(f)
	prepareFuzz(f, s)
	c := s.Client(admin)
	gvr, err := c.ResourceFor(testDeployment("d"))
	if err != nil {
		f.Fatal(err)
	}
	ref := client.Ref{GroupVersionResource: gvr, Namespace: "default", Name: "d"}
	f.Fuzz(func(t *testing.T, text string, force bool) {
		opts := metav1.PatchOptions{FieldManager: "fuzz", Force: &force}
		out, err := c.Patch(t.Context(), ref, types.ApplyYAMLPatchType, []byte(text), opts)
		if err != nil {
			if code := reasonCode(err); code >= 500 && !strings.HasPrefix(err.Error(), "failed to create typed patch object") {
				t.Errorf("%s: %d %v", text, code, err)
			}
			return
		}
		again, err := c.Patch(t.Context(), ref, types.ApplyYAMLPatchType, []byte(text), opts)
		if err != nil || again.(client.Object).GetResourceVersion() != out.(client.Object).GetResourceVersion() {
			t.Errorf("%s: applied again: %v %v", text, again, err)
		}
	})
}
