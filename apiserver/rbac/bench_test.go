package rbac_test

import (
	"context"
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/store"
)

// BenchmarkAuthorize decides with the default policy and some bindings more: for a user of a namespace, for a
// component, and for one who may nothing.
func BenchmarkAuthorize(b *testing.B) {
	for _, bindings := range []int{10, 10_000} {
		s, policy := open(b)
		fill(b, s.Admin(), bindings)
		for _, c := range []struct {
			name string
			ask  *apiserver.Attributes
			want bool
		}{
			{"user", question("user7", "get", "pods"), true},
			{"scheduler", question("system:kube-scheduler", "list", "pods"), true},
			{"refused", question("nobody", "get", "pods"), false},
		} {
			b.Run(fmt.Sprintf("bindings=%d/%s", bindings, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if allowed, _, err := policy.Authorize(context.Background(), c.ask); err != nil || allowed != c.want {
						b.Fatal(allowed, err)
					}
				}
			})
		}
	}
}

func fill(b *testing.B, c client.Interface, n int) {
	ctx := context.Background()
	ok(client.For[*rbacv1.ClusterRole](c).Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}))
	for i := range n {
		ok(client.For[*rbacv1.RoleBinding](c).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("b", i)},
			RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"},
			Subjects:   []rbacv1.Subject{{Kind: "User", Name: fmt.Sprint("user", i)}},
		}))
	}
}

// BenchmarkBootstrap makes the default objects in an empty store, as the first start of a server does, and
// looks through them, as each further start does.
func BenchmarkBootstrap(b *testing.B) {
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			st, server := bare(b)
			policy := ok(rbac.New(rbac.Config{Store: st}))
			b.StartTimer()
			if err := policy.Bootstrap(context.Background(), server); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			_ = st.Close()
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		s, policy := open(b)
		for b.Loop() {
			if err := policy.Bootstrap(context.Background(), s.Admin()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func bare(b *testing.B) (*store.Store, client.Interface) {
	st := ok(store.Open(store.Config{}))
	server := ok(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()}))
	return st, server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
}
