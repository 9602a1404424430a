package crd_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// definitionOf returns the definition that a story begins with.
func definitionOf(t testing.TB, story string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/story/" + story)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "define\n")
	definition, _, _ := strings.Cut(rest, "\n----")
	return definition
}

// FuzzObject sends bodies as objects, patches and applied configurations: whatever they are, the answer is no fault of
// the server, and what was accepted can be read again.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{"spec":{"cronSpec":"* * * * 5","replicas":2,"ports":[{"port":1,"name":"a"}]}}`, `{"spec":{"cronSpec":7},"metadata":{"labels":{"a":1}}}`,
		`{"spec":null,"status":[]}`, `{"metadata":null}`, `{"metadata":{"managedFields":[{}]}}`, `[{"op":"add","path":"/spec/x","value":{}}]`,
		`{"spec":{"replicas":1e400}}`, `{"spec":{"replicas":1.5,"ports":[{},{"port":null}]}}`, `{"spec":{"ports":{"port":1}}}`, `{"apiVersion":1}`, `null`, `[`,
	} {
		f.Add(seed)
	}
	s := start(f)
	s.define(f, definitionOf(f, "life"))
	const at = "/apis/stable.example.com/v1/namespaces/default/crontabs"
	const base = `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"x"},"spec":{"cronSpec":"* * * * 5"}}`
	f.Fuzz(func(t *testing.T, body string) {
		s.do("DELETE", at+"/x", "")
		s.must(t, "POST", at, base)
		named := strings.Replace(body, "{", `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"x"},`, 1)
		for _, typ := range []string{"merge-patch+json", "json-patch+json", "apply-patch+yaml"} {
			for _, sent := range []string{body, named} {
				check(t, s, "PATCH", at+"/x?fieldManager=f&force=true", sent, typ)
				check(t, s, "PATCH", at+"/x/status?fieldManager=f&force=true", sent, typ)
			}
		}
		for _, sent := range []string{body, named} {
			check(t, s, "PUT", at+"/x", sent, "json")
			check(t, s, "POST", at+"?dryRun=All", sent, "yaml")
		}
		s.must(t, "GET", at, "")
		s.must(t, "PATCH", at+"/x", `{"metadata":{"finalizers":null}}`, "Content-Type", "application/merge-patch+json")
	})
}

func check(t *testing.T, s server, method, path, body, typ string) {
	t.Helper()
	if body == "" {
		return
	}
	a := s.do(method, path, body, "Content-Type", "application/"+typ)
	// An applied configuration that does not fit the schema is a 500 without a reason, as in Kubernetes.
	if a.Code >= 500 && (typ != "apply-patch+yaml" || strings.Contains(a.Body.String(), "panicked")) {
		t.Errorf("%s %s as %s: %d %s\n%s", method, path, typ, a.Code, a.Body, body)
	}
}

// FuzzDefinition sends bodies as definitions; those that are accepted are served.
func FuzzDefinition(f *testing.F) {
	for _, story := range []string{"life", "versions"} {
		f.Add(definitionOf(f, story))
	}
	f.Add(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"a.b.c"},"spec":{"group":"b.c","scope":"Cluster",` +
		`"names":{"plural":"a","kind":"A"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",` +
		`"properties":{"x":{"anyOf":[{"type":"integer"},{"type":"string"}],"x-kubernetes-int-or-string":true,"default":1},"y":{"type":"object",` +
		`"x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}}}}]}}`)
	s := start(f)
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" {
			return
		}
		a := s.do("POST", definitionsPath+"?dryRun=All", body, "Content-Type", "application/yaml")
		if a.Code >= http.StatusInternalServerError {
			t.Errorf("%d %s\n%s", a.Code, a.Body, body)
		}
	})
}
