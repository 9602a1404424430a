package crd_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// Run establishes what is defined. From then on it is a kind like any other.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	st := must(store.Open(store.Config{}))
	defer st.Close()
	defs := must(crd.New(crd.Config{Store: st}))
	defer defs.Close()
	server := must(apiserver.New(apiserver.Config{
		Store: st, Kinds: append(kinds.All(), defs.Kinds()...), Sources: []apiserver.KindSource{defs}, Admission: defs.Admission(),
	}))
	c := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = defs.Run(ctx, c) })

	definitions := client.For[*apiextensionsv1.CustomResourceDefinition](c)
	must(definitions.Create(ctx, cups()))
	for !established(must(definitions.Get(ctx, "", "cups.example.com"))) {
		time.Sleep(time.Millisecond)
	}
	for _, size := range []any{int64(2), int64(9)} {
		cup := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Cup",
			"metadata": map[string]any{"name": fmt.Sprint("cup-", size)}, "spec": map[string]any{"size": size}}}
		gvr := must(c.ResourceFor(cup))
		_, err := c.Create(ctx, client.Ref{GroupVersionResource: gvr, Namespace: "default"}, cup, metav1.CreateOptions{})
		fmt.Println(gvr.Resource, err)
	}
	// Output:
	// cups <nil>
	// cups Cup.example.com "cup-9" is invalid: spec: Invalid value: a cup is no bucket
}

// cups defines a kind whose size CEL bounds.
func cups() *apiextensionsv1.CustomResourceDefinition {
	d := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "cups.example.com"}}
	d.Spec.Group, d.Spec.Scope = "example.com", apiextensionsv1.NamespaceScoped
	d.Spec.Names = apiextensionsv1.CustomResourceDefinitionNames{Plural: "cups", Singular: "cup", Kind: "Cup", ListKind: "CupList"}
	d.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
		Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
			Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": {
				Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"size": {Type: "integer"}},
				XValidations: apiextensionsv1.ValidationRules{{Rule: "self.size < 5", Message: "a cup is no bucket"}},
			}},
		}},
	}}
	return d
}

func established(d *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
