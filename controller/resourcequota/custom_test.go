package resourcequota_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/resourcequota"
	"github.com/inboard/inboard/internal/apitest"
)

const foosCount corev1.ResourceName = "count/foos.example.com"

// custom is a server that serves kinds of users, with the quota controller.
type custom struct {
	*testing.T
	c client.Interface
}

func newCustom(t *testing.T) custom {
	t.Helper()
	var defs *crd.Definitions
	api := apitest.Open(t, func(cfg *apiserver.Config) {
		var err error
		if defs, err = crd.New(crd.Config{Store: cfg.Store}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = defs.Close() })
		cfg.Kinds, cfg.Sources = append(cfg.Kinds, defs.Kinds()...), []apiserver.KindSource{defs}
		cfg.Admission = defs.Admission()
	})
	c := api.Admin()
	g, err := resourcequota.New(resourcequota.Config{Client: c, Resources: controller.Discover(api.API.Discovery), Resync: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- defs.Run(ctx, c) }()
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return custom{t, c}
}

var fooRef = client.Ref{
	GroupVersionResource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "foos"}, Namespace: "default",
}

func (w custom) create(ref client.Ref, text string) error {
	w.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.Fatal(err)
	}
	_, err := w.c.Create(w.Context(), ref, u, metav1.CreateOptions{})
	return err
}

func (w custom) foo(n int) error {
	return w.create(fooRef, fmt.Sprintf("apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: foo-%d, namespace: default}\n", n))
}

func (w custom) until(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("in vain: %s", what)
		}
	}
}

func (w custom) used(n string) {
	w.Helper()
	w.until("used is "+n, func() bool {
		q, err := client.For[*corev1.ResourceQuota](w.c).Get(w.Context(), "default", "few")
		if err != nil {
			w.Fatal(err)
		}
		used := q.Status.Used[foosCount]
		return !used.IsZero() == (n != "0") && used.String() == n && len(q.Status.Hard) == 1
	})
}

// TestCustomObjectsAreCounted limits how many objects of a user's kind a namespace may have, from before the kind is
// defined on.
func TestCustomObjectsAreCounted(t *testing.T) {
	w := newCustom(t)
	quotas := client.For[*corev1.ResourceQuota](w.c)
	if _, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{foosCount: resource.MustParse("2")}},
	}); err != nil {
		t.Fatal(err)
	}
	definitions := client.Ref{GroupVersionResource: schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}}
	if err := w.create(definitions, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: foos, kind: Foo}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`); err != nil {
		t.Fatal(err)
	}
	w.until("the kind is served and counted", func() bool { return w.foo(1) == nil })
	w.used("1")
	if err := w.foo(2); err != nil {
		t.Fatal(err)
	}
	w.used("2")
	err := w.foo(3)
	if want := "exceeded quota: few, requested: count/foos.example.com=1, used: count/foos.example.com=2, limited: count/foos.example.com=2"; !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Fatalf("the third: %v, want %q", err, want)
	}
	first := fooRef
	first.Name = "foo-1"
	if err := w.c.Delete(t.Context(), first, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.used("1")
	if err := w.foo(3); err != nil {
		t.Fatalf("after one went: %v", err)
	}
	w.used("2")
}
