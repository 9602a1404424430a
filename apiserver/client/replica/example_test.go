package replica_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/store"
)

// A view of all config maps, indexed by what is in them, and told of each change.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
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

	view, err := replica.New(replica.Config[*corev1.ConfigMap]{Client: c,
		Indexers: map[string]func(*corev1.ConfigMap) []string{
			"colour": func(m *corev1.ConfigMap) []string { return []string{m.Data["colour"]} },
		}})
	if err != nil {
		panic(err)
	}
	changes := make(chan string, 8)
	view.Subscribe(func(ch replica.Change[*corev1.ConfigMap]) { changes <- ch.Kind.String() })
	ended := make(chan error)
	go func() { ended <- view.Run(ctx) }()
	fmt.Println(<-changes)

	if _, err = client.For[*corev1.ConfigMap](c).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"},
		Data:       map[string]string{"colour": "blue"},
	}); err != nil {
		panic(err)
	}
	fmt.Println(<-changes)
	for _, m := range view.ByIndex("colour", "blue") {
		fmt.Println(m.Name)
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// Synced
	// Added
	// settings
	// <nil>
}
