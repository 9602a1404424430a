package apiserver_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// A server in your program: no socket, no files, no goroutine until you ask for one.
func Example() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = st.Close() }()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	if err != nil {
		fmt.Println(err)
		return
	}

	maps := client.For[*corev1.ConfigMap](server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}}))
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "greeting"}, Data: map[string]string{"hello": "world"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(made.Kind, made.Name, made.Data["hello"])

	// Another identity may not.
	guest := client.For[*corev1.ConfigMap](server.Client(apiserver.Identity{User: "guest"}))
	_, err = guest.Get(ctx, "default", "greeting")
	fmt.Println(err)
	// Output:
	// ConfigMap greeting world
	// configmaps "greeting" is forbidden: User "guest" cannot get resource "configmaps" in API group "" in the namespace "default"
}
