package rbac_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/store"
)

func ExampleNew() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	check(err)
	defer func() { _ = st.Close() }()
	policy, err := rbac.New(rbac.Config{Store: st})
	check(err)
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Authorizer: policy})
	check(err)

	admin := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
	ann := server.Client(apiserver.Identity{User: "ann", Groups: []string{"devs"}})
	list := func() {
		_, err := client.For[*corev1.Pod](ann).List(ctx, "default", metav1.ListOptions{})
		fmt.Println(err)
	}
	list()
	_, err = client.For[*rbacv1.ClusterRole](admin).Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-reader"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods"}}},
	})
	check(err)
	_, err = client.For[*rbacv1.RoleBinding](admin).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "devs-read-pods"},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "pod-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "Group", Name: "devs"}},
	})
	check(err)
	list()
	// Output:
	// pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"
	// <nil>
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
