package crd_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/store"
)

// logged is a log to look at.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), line)
}

func logTo(l *logged) func(*crd.Config) {
	return func(c *crd.Config) { c.Logger = slog.New(slog.NewTextHandler(l, nil)) }
}

// put stores a definition that no server would have accepted.
func put(t *testing.T, st *store.Store, name string, value []byte) {
	t.Helper()
	key := "/registry/apiextensions.k8s.io/customresourcedefinitions/" + name
	if _, err := st.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key, value)}}); err != nil {
		t.Fatal(err)
	}
}

func encoded(t *testing.T, d *apiextensionsv1.CustomResourceDefinition) []byte {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// establishedAs returns a definition that says of itself that it is established.
func establishedAs(plural, kind, version string) *apiextensionsv1.CustomResourceDefinition {
	names := apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"}
	d := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + ".example.com", UID: "u"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{Group: "example.com", Names: names, Scope: apiextensionsv1.ClusterScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}}}}},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{AcceptedNames: names, StoredVersions: []string{version}},
	}
	for _, c := range []apiextensionsv1.CustomResourceDefinitionConditionType{apiextensionsv1.NamesAccepted, apiextensionsv1.Established} {
		apihelpers.SetCRDCondition(d, apiextensionsv1.CustomResourceDefinitionCondition{Type: c, Status: apiextensionsv1.ConditionTrue})
	}
	return d
}

// TestBadDefinitions has stored definitions that can't be read or served: the others are, old and new ones, and the log
// and the definition tell.
func TestBadDefinitions(t *testing.T) {
	st, log := openStore(t), &logged{}
	s := newServer(t, st, logTo(log))
	s.run(t)
	s.define(t, plain)
	s.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"x"},"a":"1"}`)
	put(t, st, "bads.example.com", encoded(t, establishedAs("bads", "Bad", "")))
	s.must(t, "GET", "/apis/example.com/v1/foos/x", "")
	s.await(t, "bads.example.com", func(d *apiextensionsv1.CustomResourceDefinition) bool {
		if d == nil {
			return false
		}
		c := apihelpers.FindCRDCondition(d, "Served")
		return c != nil && c.Status == apiextensionsv1.ConditionFalse && c.Reason == "Invalid" && strings.Contains(c.Message, "without a kind, version or resource")
	})
	s.define(t, strings.NewReplacer("foos", "bars", "Foo", "Bar").Replace(plain))
	s.must(t, "GET", "/apis/example.com/v1/bars", "")
	if n := log.count("a definition of custom resources is not served"); n != 1 {
		t.Errorf("%d lines of the log tell of it", n)
	}
	// One that can't be read keeps nobody from what is served, at this server and at one that begins with it.
	put(t, st, "damaged.example.com", []byte("\xff\xff\xff"))
	log = &logged{}
	for _, s := range []server{s, newServer(t, st, logTo(log))} {
		s.must(t, "GET", "/apis/example.com/v1/foos/x", "")
		s.must(t, "GET", "/apis/example.com/v1/bars", "")
		s.must(t, "GET", "/apis/example.com", "")
	}
	if n := log.count(`can't be read" name=damaged.example.com`); n != 1 {
		t.Errorf("%d lines of the log tell of it", n)
	}
}

// TestConflictingDefinitions has established definitions of one kind, and of one resource. The first is served; the
// others tell why they are not, are once it is gone, and can be deleted without taking along what is not theirs.
func TestConflictingDefinitions(t *testing.T) {
	st, log := openStore(t), &logged{}
	s := newServer(t, st, logTo(log))
	for _, plural := range []string{"as", "bs", "cs"} {
		put(t, st, plural+".example.com", encoded(t, establishedAs(plural, "Same", "v1")))
	}
	impostor := establishedAs("as", "Other", "v1")
	impostor.Name = "z.example.com"
	put(t, st, "z.example.com", encoded(t, impostor))
	s.must(t, "POST", "/apis/example.com/v1/as", `{"apiVersion":"example.com/v1","kind":"Same","metadata":{"name":"x"}}`)
	s.run(t)
	refused := func(message string) func(*apiextensionsv1.CustomResourceDefinition) bool {
		return func(d *apiextensionsv1.CustomResourceDefinition) bool {
			if d == nil {
				return false
			}
			c := apihelpers.FindCRDCondition(d, "Served")
			return c != nil && c.Status == apiextensionsv1.ConditionFalse && c.Reason == "Conflict" && c.Message == message
		}
	}
	gone := func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil }
	s.await(t, "bs.example.com", refused("as.example.com serves the kind Same of example.com/v1"))
	s.await(t, "cs.example.com", refused("as.example.com serves the kind Same of example.com/v1"))
	s.await(t, "z.example.com", refused("as.example.com serves the resource as.example.com"))
	definitions := client.For[*apiextensionsv1.CustomResourceDefinition](s.Client(admin))
	for _, name := range []string{"z.example.com", "cs.example.com"} {
		if err := definitions.Delete(t.Context(), "", name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		s.await(t, name, gone)
	}
	s.must(t, "GET", "/apis/example.com/v1/as/x", "")
	if err := definitions.Delete(t.Context(), "", "as.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.await(t, "as.example.com", gone)
	s.await(t, "bs.example.com", func(d *apiextensionsv1.CustomResourceDefinition) bool {
		return d != nil && apihelpers.FindCRDCondition(d, "Served") == nil
	})
	s.must(t, "POST", "/apis/example.com/v1/bs", `{"apiVersion":"example.com/v1","kind":"Same","metadata":{"name":"y"}}`)
	if a := s.do("GET", "/apis/example.com/v1/as/x", ""); a.Code != http.StatusNotFound {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if n := log.count("a definition of custom resources is not served"); n != 3 {
		t.Errorf("%d lines of the log tell of three", n)
	}
}
