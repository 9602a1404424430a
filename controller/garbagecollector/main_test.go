package garbagecollector_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/garbagecollector"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: foos, kind: Foo}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

var (
	crds        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	foos        = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "foos"}
	configMaps  = corev1.SchemeGroupVersion.WithResource("configmaps")
	deployments = appsv1.SchemeGroupVersion.WithResource("deployments")
)

// world is a server that serves kinds of users, and a garbage collector.
type world struct {
	*testing.T
	api *apitest.Server
	c   client.Interface
}

// each runs a test with a collector in the server's process and with one that reaches it over HTTPS.
func each(t *testing.T, test func(w *world)) {
	t.Run("in process", func(t *testing.T) {
		w := newWorld(t)
		w.collect(w.c, controller.Discover(w.api.API.Discovery))
		test(w)
	})
	t.Run("HTTPS", func(t *testing.T) {
		w := newWorld(t)
		c, err := rest.New(rest.Config{Kubeconfig: w.api.Serve(t, "gc", apiserver.GroupMasters)})
		w.must(err)
		t.Cleanup(func() { _ = c.Close() })
		w.collect(c, controller.Discover(w.api.API.Discovery))
		test(w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	var defs *crd.Definitions
	w.api = apitest.Open(t, func(cfg *apiserver.Config) {
		var err error
		defs, err = crd.New(crd.Config{Store: cfg.Store})
		w.must(err)
		t.Cleanup(func() { w.must(defs.Close()) })
		cfg.Kinds, cfg.Sources = append(cfg.Kinds, defs.Kinds()...), []apiserver.KindSource{defs}
		cfg.Admission = defs.Admission()
	})
	w.c = w.api.Admin()
	w.during(func(ctx context.Context) error { return defs.Run(ctx, w.c) })
	return w
}

// collect runs a garbage collector until the test ends.
func (w *world) collect(c client.Interface, discover controller.Resources) {
	w.Helper()
	g, err := garbagecollector.New(garbagecollector.Config{Client: c, Discover: discover, Resync: 200 * time.Millisecond})
	w.must(err)
	w.during(g.Run)
	select {
	case <-g.Ready():
	case <-time.After(time.Minute):
		w.Fatal("the collector is not ready")
	}
}

func (w *world) during(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// define makes the kind Foo and waits until the server has it.
func (w *world) define() {
	w.Helper()
	def := &unstructured.Unstructured{}
	w.must(yaml.Unmarshal([]byte(definition), &def.Object))
	_, err := w.c.Create(w.Context(), client.Ref{GroupVersionResource: crds}, def, metav1.CreateOptions{})
	w.must(err)
	w.until("the kind is served", func() bool {
		_, err := w.c.List(w.Context(), client.Ref{GroupVersionResource: foos}, metav1.ListOptions{})
		return err == nil
	})
}

// add makes an object in the namespace default and returns a reference to it, which blocks its deletion.
func (w *world) add(gvr schema.GroupVersionResource, kind, name string, finalizers []string, owners ...metav1.OwnerReference) metav1.OwnerReference {
	w.Helper()
	meta := metav1.ObjectMeta{Namespace: "default", Name: name, Finalizers: finalizers, OwnerReferences: owners}
	var obj runtime.Object
	switch gvr {
	case configMaps:
		obj = &corev1.ConfigMap{ObjectMeta: meta}
	case deployments:
		labels := map[string]string{"app": name}
		obj = &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		}}
	default:
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(gvr.GroupVersion().WithKind(kind))
		u.SetNamespace(meta.Namespace)
		u.SetName(name)
		u.SetFinalizers(finalizers)
		u.SetOwnerReferences(owners)
		obj = u
	}
	got, err := w.c.Create(w.Context(), client.Ref{GroupVersionResource: gvr, Namespace: "default"}, obj, metav1.CreateOptions{})
	w.must(err)
	block := true
	return metav1.OwnerReference{
		APIVersion: gvr.GroupVersion().String(), Kind: kind, Name: name, UID: got.(metav1.Object).GetUID(), BlockOwnerDeletion: &block,
	}
}

func ref(gvr schema.GroupVersionResource, name string) client.Ref {
	return client.Ref{GroupVersionResource: gvr, Namespace: "default", Name: name}
}

func (w *world) delete(gvr schema.GroupVersionResource, name string, policy metav1.DeletionPropagation) {
	w.Helper()
	w.must(w.c.Delete(w.Context(), ref(gvr, name), metav1.DeleteOptions{PropagationPolicy: &policy}))
}

func (w *world) get(gvr schema.GroupVersionResource, name string) (metav1.Object, bool) {
	w.Helper()
	obj, err := w.c.Get(w.Context(), ref(gvr, name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false
	}
	w.must(err)
	return obj.(metav1.Object), true
}

func (w *world) gone(gvr schema.GroupVersionResource, name string) {
	w.Helper()
	w.until(fmt.Sprintf("%s %s is gone", gvr.Resource, name), func() bool {
		_, there := w.get(gvr, name)
		return !there
	})
}

// stays checks that an object has, once the collector did what it was given later, the owners given.
func (w *world) stays(gvr schema.GroupVersionResource, name string, owners ...string) {
	w.Helper()
	obj, there := w.get(gvr, name)
	if !there || obj.GetDeletionTimestamp() != nil {
		w.Fatalf("%s %s went", gvr.Resource, name)
	}
	var got []string
	for _, ref := range obj.GetOwnerReferences() {
		got = append(got, ref.Name)
	}
	if strings.Join(got, " ") != strings.Join(owners, " ") {
		w.Errorf("%s %s has owners %v, want %v", gvr.Resource, name, got, owners)
	}
}

// settle gives the collector something to do and waits until it is done.
func (w *world) settle(name string) {
	w.Helper()
	w.add(configMaps, "ConfigMap", name, nil, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "nobody", UID: "nobody"})
	w.gone(configMaps, name)
}

func (w *world) until(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("in vain: %s", what)
		}
	}
}
