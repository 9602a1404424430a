package crd_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// samePlurals are those of definitions of one kind.
var samePlurals = []string{"bars", "bazs", "foos"}

// defineSame makes definitions of one kind, and waits for nothing.
func (s server) defineSame(t *testing.T) {
	t.Helper()
	for _, plural := range samePlurals {
		definition := strings.NewReplacer("foos", plural, "  CONVERSION\n", "").Replace(simple)
		s.must(t, "POST", definitionsPath, definition, "Content-Type", "application/yaml")
	}
}

// TestSameKindAtOnce has controllers come to definitions of one kind at the same moment: one gets the name.
func TestSameKindAtOnce(t *testing.T) {
	s := newServer(t, openStore(t))
	s.defineSame(t)
	s.run(t)
	established := 0
	for _, plural := range samePlurals {
		s.await(t, plural+".example.com", func(d *apiextensionsv1.CustomResourceDefinition) bool {
			if apihelpers.IsCRDConditionTrue(d, apiextensionsv1.Established) {
				established++
				return true
			}
			return apihelpers.IsCRDConditionFalse(d, apiextensionsv1.Established)
		})
	}
	if established != 1 {
		t.Errorf("%d definitions of one kind are established", established)
	}
	s.must(t, "GET", "/apis/example.com", "")
}

// TestSameKindEstablished has definitions of one kind that are all established, as two servers may leave them that
// accept names at the same moment: one is served, and so is all else.
func TestSameKindEstablished(t *testing.T) {
	s := newServer(t, openStore(t))
	s.defineSame(t)
	definitions := client.For[*apiextensionsv1.CustomResourceDefinition](s.Client(admin))
	for _, plural := range samePlurals {
		d, err := definitions.Get(t.Context(), "", plural+".example.com")
		if err != nil {
			t.Fatal(err)
		}
		d.Status.AcceptedNames = d.Spec.Names
		for _, c := range []apiextensionsv1.CustomResourceDefinitionConditionType{apiextensionsv1.NamesAccepted, apiextensionsv1.Established} {
			apihelpers.SetCRDCondition(d, apiextensionsv1.CustomResourceDefinitionCondition{Type: c, Status: apiextensionsv1.ConditionTrue})
		}
		if _, err := definitions.UpdateStatus(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	s.must(t, "GET", "/apis/example.com", "")
	for plural, want := range map[string]int{"bars": http.StatusOK, "bazs": http.StatusNotFound, "foos": http.StatusNotFound} {
		if a := s.do("GET", "/apis/example.com/v1/"+plural, ""); a.Code != want {
			t.Errorf("%s: %d %s", plural, a.Code, a.Body)
		}
	}
}
