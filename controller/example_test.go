package controller_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/store"
)

// newCluster returns a client of an API server in memory.
func newCluster() (c client.Interface, stop func(), err error) {
	st, err := store.Open(store.Config{})
	if err != nil {
		return nil, nil, err
	}
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}), func() { _ = st.Close() }, nil
}

// A controller of one's own: each namespace with the label "greet" gets a ConfigMap "greeting",
// which stays what it should be, whoever changes or deletes it.
func Example() {
	c, stop, err := newCluster() // or rest.New, for any Kubernetes
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	group, err := controller.NewGroup(controller.GroupConfig{Client: c})
	if err != nil {
		fmt.Println(err)
		return
	}
	namespaces, err := controller.ViewOf[*corev1.Namespace](group)
	if err != nil {
		fmt.Println(err)
		return
	}
	configMaps := client.For[*corev1.ConfigMap](c)

	// Reconcile looks at what is, compares it with what should be, and mends the difference.
	reconcile := func(ctx context.Context, key controller.Key) (controller.Result, error) {
		ns, ok := namespaces.Get("", key.Name)
		if !ok || ns.DeletionTimestamp != nil || ns.Labels["greet"] == "" {
			return controller.Result{}, nil
		}
		want := "Hello, " + ns.Labels["greet"] + "!"
		cm, err := configMaps.Get(ctx, ns.Name, "greeting")
		switch {
		case apierrors.IsNotFound(err):
			_, err = configMaps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "greeting"},
				Data:       map[string]string{"text": want},
			})
		case err == nil && cm.Data["text"] != want:
			cm.Data = map[string]string{"text": want}
			_, err = configMaps.Update(ctx, cm)
		}
		return controller.Result{}, err // after an error it is tried again
	}
	_, err = group.Add(controller.Config{
		Name:       "greeter",
		Reconciler: controller.Func(reconcile),
		Sources: []controller.Source{
			controller.On[*corev1.Namespace]{},
			controller.On[*corev1.ConfigMap]{Keys: func(cm *corev1.ConfigMap) []controller.Key {
				return []controller.Key{{Name: cm.Namespace}}
			}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- group.Run(ctx) }()

	_, err = client.For[*corev1.Namespace](c).Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"greet": "world"}},
	})
	if err != nil {
		fmt.Println(err)
	}
	events, err := configMaps.Watch(ctx, "shop", metav1.ListOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	cm := (<-events.ResultChan()).Object.(*corev1.ConfigMap)
	fmt.Println(cm.Data["text"])

	_ = configMaps.Delete(ctx, "shop", "greeting", metav1.DeleteOptions{})
	fmt.Println((<-events.ResultChan()).Type)
	fmt.Println((<-events.ResultChan()).Type)
	events.Stop()

	cancel()
	fmt.Println(<-done)
	// Output:
	// Hello, world!
	// DELETED
	// ADDED
	// <nil>
}

// counting counts the lists and watches of each resource.
type counting struct {
	client.Interface
	lists atomic.Int32
}

func (c *counting) List(ctx context.Context, ref client.Ref, o metav1.ListOptions) (*client.List, error) {
	c.lists.Add(1)
	return c.Interface.List(ctx, ref, o)
}

func TestControllersOfAGroupShareAView(t *testing.T) {
	c, stop, err := newCluster()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	counted := &counting{Interface: c}
	g, err := controller.NewGroup(controller.GroupConfig{Client: counted})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 100)
	for i := range 5 {
		name := fmt.Sprint("c", i)
		_, err := g.Add(controller.Config{
			Name: name,
			Reconciler: controller.Func(func(_ context.Context, key controller.Key) (controller.Result, error) {
				seen <- name + " " + key.String()
				return controller.Result{}, nil
			}),
			Sources: []controller.Source{controller.On[*corev1.Namespace]{}, controller.Reads[client.Object]{Resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() { cancel(); <-done }()
	<-g.Ready()
	if n := counted.lists.Load(); n != 1 {
		t.Errorf("%d lists for one kind", n)
	}
	if _, err := g.Add(controller.Config{Name: "late", Reconciler: controller.Func(nil)}); err == nil {
		t.Error("adding to a group that runs is no error")
	}
	if _, err := client.For[*corev1.Namespace](c).Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for len(got) < 5 {
		select {
		case s := <-seen:
			got[s] = true
		case <-ctx.Done():
			t.Fatalf("only %v were told", got)
		}
	}
}

func TestPanicsOfSourcesAreContained(t *testing.T) {
	c, stop, err := newCluster()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	seen := make(chan controller.Key, 10)
	loop, err := controller.New(controller.Config{
		Name: "x", Client: c,
		Reconciler: controller.Func(func(_ context.Context, key controller.Key) (controller.Result, error) {
			seen <- key
			return controller.Result{}, nil
		}),
		Sources: []controller.Source{controller.On[*corev1.Namespace]{Keys: func(ns *corev1.Namespace) []controller.Key {
			if ns.Name == "bad" {
				panic("bad namespace")
			}
			return []controller.Key{controller.KeyOf(ns)}
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	defer func() { cancel(); <-done }()
	<-loop.Ready()
	for _, name := range []string{"bad", "good"} {
		if _, err := client.For[*corev1.Namespace](c).Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	for {
		select {
		case key := <-seen:
			if key.Name == "good" {
				return
			}
		case <-ctx.Done():
			t.Fatal("the good namespace was not reconciled")
		}
	}
}

func TestDiscover(t *testing.T) {
	pages := map[string]string{
		"/apis":              `{"groups":[{"name":"apps","preferredVersion":{"groupVersion":"apps/v1"},"versions":[{"groupVersion":"apps/v1beta1"},{"groupVersion":"apps/v1"}]},{"name":"gone.example.com","preferredVersion":{"groupVersion":"gone.example.com/v1"}}]}`,
		"/api/v1":            `{"resources":[{"name":"pods","kind":"Pod","namespaced":true,"verbs":["list","watch","delete"]},{"name":"pods/status","kind":"Pod","verbs":["get"]},{"name":"bindings","kind":"Binding","verbs":["create"]}]}`,
		"/apis/apps/v1":      `{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true,"verbs":["list","watch","delete"]}]}`,
		"/apis/apps/v1beta1": `{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true,"verbs":["list","watch","delete"]},{"name":"news","kind":"New","namespaced":true,"verbs":["list","watch","delete"]}]}`,
	}
	found, err := controller.Discover(func(_ context.Context, path string) ([]byte, error) {
		page, ok := pages[path]
		if !ok {
			return nil, errors.New("503 service unavailable")
		}
		return []byte(page), nil
	})(t.Context())
	if err == nil || err.Error() != "discovery: GET /apis/gone.example.com/v1: 503 service unavailable" {
		t.Errorf("error %v", err)
	}
	if len(found) != 3 || found[2].GroupVersionKind().String() != "apps/v1beta1, Kind=New" || found[0].Kind != "Pod" || found[1].GroupVersionKind().String() != "apps/v1, Kind=Deployment" {
		t.Errorf("found %v", found)
	}
}
