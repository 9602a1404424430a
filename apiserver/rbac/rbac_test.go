package rbac_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/store"
)

func TestConfig(t *testing.T) {
	if _, err := rbac.New(rbac.Config{}); err == nil || !strings.Contains(err.Error(), "Config.Store") {
		t.Errorf("%v, want an error that names Config.Store", err)
	}
	st := ok(store.Open(store.Config{}))
	t.Cleanup(func() { _ = st.Close() })
	a := ok(rbac.New(rbac.Config{Store: st}))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if allowed, _, err := a.Authorize(context.Background(), question("ann", "get", "pods")); allowed || err == nil {
		t.Errorf("a closed authorizer says %v, %v", allowed, err)
	}
}

// TestNothingTrails has many users be granted something, and lose it again, while others write; each answer
// must be that of the moment, also where the store keeps too little history to follow.
func TestNothingTrails(t *testing.T) {
	for _, kept := range []int{0, 2} {
		t.Run(fmt.Sprint("history ", kept), func(t *testing.T) {
			st := ok(store.Open(store.Config{HistoryRevisions: kept}))
			t.Cleanup(func() { _ = st.Close() })
			a := ok(rbac.New(rbac.Config{Store: st}))
			server := ok(apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Authorizer: a}))
			admin := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
			role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"},
				Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
			ok(client.For[*rbacv1.ClusterRole](admin).Create(t.Context(), role))
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() { comeAndGo(t, a, admin, fmt.Sprint("user", i)) })
			}
			wg.Wait()
		})
	}
}

func comeAndGo(t *testing.T, a *rbac.Authorizer, admin client.Interface, user string) {
	bindings := client.For[*rbacv1.ClusterRoleBinding](admin)
	for range 20 {
		b := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"},
			Subjects: []rbacv1.Subject{{Kind: "User", Name: user}}}
		if _, err := bindings.Create(t.Context(), b); err != nil {
			t.Error(err)
			return
		}
		expect(t, a, user, true)
		if err := bindings.Delete(t.Context(), "", user, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
			return
		}
		expect(t, a, user, false)
	}
}

func expect(t *testing.T, a *rbac.Authorizer, user string, want bool) {
	t.Helper()
	allowed, _, err := a.Authorize(t.Context(), question(user, "get", "pods"))
	if err != nil || allowed != want {
		t.Errorf("%s is allowed: %v, %v; want %v", user, allowed, err, want)
	}
}

func question(user, verb, resource string) *apiserver.Attributes {
	return &apiserver.Attributes{User: &apiserver.Identity{User: user, Groups: []string{"system:authenticated"}}, Verb: verb, Resource: resource, Namespace: "default"}
}

// TestBootstrap starts servers one after the other over one store: each restores what a default role or
// binding lost, keeps what was added, and leaves alone what is marked.
func TestBootstrap(t *testing.T) {
	ctx := t.Context()
	s, policy := open(t)
	roles, bindings := client.For[*rbacv1.ClusterRole](s.Admin()), client.For[*rbacv1.ClusterRoleBinding](s.Admin())
	before := s.Store.Revision()
	if err := policy.Bootstrap(ctx, s.Admin()); err != nil || s.Store.Revision() != before {
		t.Fatalf("a second start writes %d times, %v", s.Store.Revision()-before, err)
	}
	own := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"things"}}
	discovery := ok(roles.Get(ctx, "", "system:discovery"))
	want := len(discovery.Rules[0].NonResourceURLs)
	discovery.Rules = []rbacv1.PolicyRule{own}
	ok(roles.Update(ctx, discovery))
	marked := ok(roles.Get(ctx, "", "system:node"))
	marked.Rules = nil
	marked.Annotations[rbacv1.AutoUpdateAnnotationKey] = "false"
	ok(roles.Update(ctx, marked))
	admin := ok(roles.Get(ctx, "", "admin"))
	admin.AggregationRule = nil
	ok(roles.Update(ctx, admin))
	bound := ok(bindings.Get(ctx, "", "system:discovery"))
	bound.Subjects = []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "ann"}}
	ok(bindings.Update(ctx, bound))
	// Another role than the default one.
	if err := bindings.Delete(ctx, "", "system:basic-user", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ok(bindings.Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "system:basic-user"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}}))

	if err := policy.Bootstrap(ctx, s.Admin()); err != nil {
		t.Fatal(err)
	}
	if discovery = ok(roles.Get(ctx, "", "system:discovery")); len(discovery.Rules) != 1+want {
		t.Errorf("system:discovery has the rules %v", discovery.Rules)
	}
	if marked = ok(roles.Get(ctx, "", "system:node")); len(marked.Rules) != 0 {
		t.Error("a role that is marked was changed")
	}
	if admin = ok(roles.Get(ctx, "", "admin")); admin.AggregationRule == nil {
		t.Error("admin gathers nothing any more")
	}
	if bound = ok(bindings.Get(ctx, "", "system:discovery")); len(bound.Subjects) != 2 {
		t.Errorf("system:discovery is bound to %v", bound.Subjects)
	}
	if b := ok(bindings.Get(ctx, "", "system:basic-user")); b.RoleRef.Name != "system:basic-user" {
		t.Errorf("system:basic-user is bound to %v", b.RoleRef)
	}
}

// TestRetired has a server start over a store that bindings of earlier versions are in.
func TestRetired(t *testing.T) {
	ctx := t.Context()
	s, _ := open(t)
	bindings := client.For[*rbacv1.ClusterRoleBinding](s.Admin())
	nodes := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:nodes"}
	ann := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "ann"}
	binding := func(name, role string, to ...rbacv1.Subject) *rbacv1.ClusterRoleBinding {
		return &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: to,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
	}
	marked := binding("marked", "view", nodes)
	marked.Annotations = map[string]string{rbacv1.AutoUpdateAnnotationKey: "false"}
	var retired []*rbacv1.ClusterRoleBinding
	for _, b := range []*rbacv1.ClusterRoleBinding{
		binding("whole", "view", nodes), binding("shared", "view", ann, nodes), binding("others", "view", ann), binding("reused", "edit", nodes), marked,
	} {
		ok(bindings.Create(ctx, b))
		retired = append(retired, binding(b.Name, "view", nodes))
	}
	retired = append(retired, binding("never-there", "view", nodes))
	policy := ok(rbac.New(rbac.Config{Store: s.Store, Retired: retired}))
	t.Cleanup(func() { _ = policy.Close() })
	for range 2 { // the second time there is nothing to do
		if err := policy.Bootstrap(ctx, s.Admin()); err != nil {
			t.Fatal(err)
		}
		if _, err := bindings.Get(ctx, "", "whole"); !apierrors.IsNotFound(err) {
			t.Errorf("a retired binding: %v, want that it is gone", err)
		}
		for name, want := range map[string]rbacv1.Subject{"shared": ann, "others": ann, "reused": nodes, "marked": nodes} {
			if b := ok(bindings.Get(ctx, "", name)); len(b.Subjects) != 1 || b.Subjects[0] != want {
				t.Errorf("%s has the subjects %v, want %v", name, b.Subjects, want)
			}
		}
	}
}

// TestPipeline asks through the server, also for what a decision has to wait for: creating by an update.
func TestPipeline(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	admin, ann := s.Admin(), s.As("ann")
	_, err := client.For[*corev1.ConfigMap](ann).Get(ctx, "default", "x")
	want := `configmaps "x" is forbidden: User "ann" cannot get resource "configmaps" in API group "" in the namespace "default"`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	ok(client.For[*rbacv1.Role](admin).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "writer"},
		Rules: []rbacv1.PolicyRule{{Verbs: []string{"update"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}}}}))
	ok(client.For[*rbacv1.RoleBinding](admin).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ann"},
		RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "writer"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "ann"}}}))
	_, err = client.For[*rbacv1.Role](ann).Update(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mine"},
		Rules: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}})
	if err == nil || !strings.Contains(err.Error(), `cannot create resource "roles"`) {
		t.Errorf("an update that creates: %v", err)
	}
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
