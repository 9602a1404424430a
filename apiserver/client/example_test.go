package client_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/store"
)

// A typed façade over a server in the same process: no socket, no serialization.
func ExampleFor() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: core.Kinds()})
	if err != nil {
		panic(err)
	}
	c := server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}})

	maps := client.For[*corev1.ConfigMap](c)
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"},
		Data:       map[string]string{"colour": "blue"},
	})
	if err != nil {
		panic(err)
	}
	made.Data["colour"] = "red" // what Create returned is the caller's own
	if _, err = maps.Update(ctx, made); err != nil {
		panic(err)
	}
	list, err := maps.List(ctx, "default", metav1.ListOptions{})
	if err != nil {
		panic(err)
	}
	for _, m := range list.Items { // what List returns is shared: read it only
		fmt.Println(m.Name, m.Data["colour"])
	}
	_, err = maps.Get(ctx, "default", "nothing")
	fmt.Println(apierrors.IsNotFound(err), err)
	// Output:
	// settings red
	// true configmaps "nothing" not found
}

// Many writes in one commit, each with its own resource version and its own error.
func ExampleBatcher() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: core.Kinds()})
	if err != nil {
		panic(err)
	}
	c := server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}})
	maps := client.For[*corev1.ConfigMap](c)
	settings := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	}
	b, ok := c.(client.Batcher) // behind HTTPS there is none
	fmt.Println(ok)
	for _, err := range b.Batch(ctx, [][]client.Write{
		{{Ref: maps.Ref("default", ""), Create: settings("a")}},
		{{Ref: maps.Ref("default", ""), Create: settings("not a name")}},
		{{Ref: maps.Ref("default", ""), Create: settings("b")}, {Ref: maps.Ref("default", "b"), Delete: &metav1.DeleteOptions{}}},
	}) {
		fmt.Println(apierrors.ReasonForError(err) == metav1.StatusReasonInvalid, err == nil)
	}
	// Output:
	// true
	// false true
	// true false
	// false true
}

func ExampleRef_String() {
	pods := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"),
		Namespace: "default", Name: "web", Subresource: "binding"}
	fmt.Println(pods)
	// Output: v1/namespaces/default/pods/web/binding
}
