package crd_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/inboard/inboard/store"
)

// builtin defines a resource in a group that the server has built in.
const builtin = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: PLURAL.rbac.authorization.k8s.io
  annotations: {api-approved.kubernetes.io: "https://example.com/approved"}
spec:
  group: rbac.authorization.k8s.io
  scope: Cluster
  names: {plural: PLURAL, kind: KIND}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v9, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func builtinDefinition(plural, kind string) string {
	return strings.NewReplacer("PLURAL", plural, "KIND", kind).Replace(builtin)
}

const (
	rolesPath    = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
	ownRole      = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"mine"}}`
	newerRoles   = "/apis/rbac.authorization.k8s.io/v9/clusterroles"
	damagingRole = `{"apiVersion":"rbac.authorization.k8s.io/v9","kind":"ClusterRole","metadata":{"name":"x"},"rules":"none"}`
	rolesDefined = "clusterroles.rbac.authorization.k8s.io"
)

// TestBuiltinResource defines a resource that the server has built in, in another version: what is stored of it must
// neither be read nor written, nor removed along with the definition.
func TestBuiltinResource(t *testing.T) {
	s := start(t)
	s.must(t, "POST", rolesPath, ownRole)
	s.must(t, "POST", definitionsPath, builtinDefinition("clusterroles", "ClusterRole"), "Content-Type", "application/yaml")
	s.await(t, rolesDefined, func(d *apiextensionsv1.CustomResourceDefinition) bool {
		c := apihelpers.FindCRDCondition(d, apiextensionsv1.NamesAccepted)
		return c != nil && c.Status == apiextensionsv1.ConditionFalse && c.Reason == "PluralConflict" &&
			apihelpers.IsCRDConditionFalse(d, apiextensionsv1.Established)
	})
	if a := s.do("POST", newerRoles, damagingRole); a.Code != http.StatusNotFound {
		t.Errorf("writing as another kind: %d %s", a.Code, a.Body)
	}
	s.must(t, "DELETE", definitionsPath+"/"+rolesDefined, "")
	s.await(t, rolesDefined, func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil })
	s.must(t, "GET", rolesPath+"/mine", "")
}

// TestBuiltinResourceEstablished is about a definition that was established where the resource was not built in.
func TestBuiltinResourceEstablished(t *testing.T) {
	st := openStore(t)
	establishBare(t, st)
	s := newServer(t, st)
	s.must(t, "POST", rolesPath, ownRole)
	if a := s.do("POST", newerRoles, damagingRole); a.Code != http.StatusNotFound {
		t.Errorf("writing as another kind: %d %s", a.Code, a.Body)
	}
	s.run(t)
	s.must(t, "DELETE", definitionsPath+"/"+rolesDefined, "")
	s.await(t, rolesDefined, func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil })
	s.must(t, "GET", rolesPath+"/mine", "")
}

// establishBare establishes the definition at a server without kinds of its own but definitions.
func establishBare(t *testing.T, st *store.Store) {
	bare := newServerOf(t, st, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- bare.defs.Run(ctx, bare.Client(admin)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	bare.define(t, builtinDefinition("clusterroles", "ClusterRole"))
}

// TestBuiltinVersion removes a definition of a new resource that is stored in a version which the server answers for
// itself.
func TestBuiltinVersion(t *testing.T) {
	s := start(t)
	s.define(t, builtinDefinition("foos", "Foo"))
	s.must(t, "POST", "/apis/rbac.authorization.k8s.io/v9/foos", `{"apiVersion":"rbac.authorization.k8s.io/v9","kind":"Foo","metadata":{"name":"x"}}`)
	name := "foos.rbac.authorization.k8s.io"
	s.must(t, "DELETE", definitionsPath+"/"+name, "")
	s.await(t, name, func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil })
	s.define(t, builtinDefinition("foos", "Foo"))
	if list := s.must(t, "GET", "/apis/rbac.authorization.k8s.io/v9/foos", ""); strings.Contains(list, `"x"`) {
		t.Errorf("objects survived: %s", list)
	}
}
