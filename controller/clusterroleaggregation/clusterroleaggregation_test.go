package clusterroleaggregation_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/clusterroleaggregation"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rule(resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{""}, Resources: []string{resource}}
}

func role(name, label string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}}, Rules: rules}
}

func gathers(name, label string, from ...string) *rbacv1.ClusterRole {
	r := role(name, label)
	r.AggregationRule = &rbacv1.AggregationRule{}
	for _, f := range from {
		r.AggregationRule.ClusterRoleSelectors = append(r.AggregationRule.ClusterRoleSelectors, metav1.LabelSelector{MatchLabels: map[string]string{f: "true"}})
	}
	return r
}

// TestRulesFollow: the rules are those of the selected roles, also through a role that gathers itself, when roles
// come, change and go.
func TestRulesFollow(t *testing.T) {
	c := apitest.Open(t).Admin()
	g, err := clusterroleaggregation.New(clusterroleaggregation.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	roles := client.For[*rbacv1.ClusterRole](c)
	create := func(r *rbacv1.ClusterRole) {
		t.Helper()
		if _, err := roles.Create(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	shows := func(name string, want ...rbacv1.PolicyRule) {
		t.Helper()
		for {
			r, err := roles.Get(ctx, "", name)
			if err != nil {
				t.Fatalf("waiting for %s to have the rules %v: %v", name, want, err)
			}
			if len(r.Rules) == len(want) && (len(want) == 0 || reflect.DeepEqual(r.Rules, want)) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	create(gathers("view", "for-edit", "for-view"))
	create(gathers("edit", "none", "for-edit"))
	create(role("b", "for-view", rule("pods", "get"), rule("services", "get")))
	create(role("a", "for-edit", rule("pods", "delete"), rule("services", "get")))
	shows("view", rule("pods", "get"), rule("services", "get"))
	shows("edit", rule("pods", "delete"), rule("services", "get"), rule("pods", "get"))

	b, err := roles.Get(ctx, "", "b")
	if err != nil {
		t.Fatal(err)
	}
	b.Rules = []rbacv1.PolicyRule{rule("nodes", "get")}
	if _, err := roles.Update(ctx, b); err != nil {
		t.Fatal(err)
	}
	shows("edit", rule("pods", "delete"), rule("services", "get"), rule("nodes", "get"))
	if err := roles.Delete(ctx, "", "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	shows("view")
	shows("edit", rule("pods", "delete"), rule("services", "get"))
	// What somebody writes into the rules does not stay.
	edit, err := roles.Get(ctx, "", "edit")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(edit.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == "clusterrole-aggregation-controller" }) {
		t.Errorf("the rules are managed by %v", edit.ManagedFields)
	}
	edit.Rules = append(edit.Rules, rule("*", "*"))
	if _, err := roles.Update(ctx, edit); err != nil {
		t.Fatal(err)
	}
	shows("edit", rule("pods", "delete"), rule("services", "get"))
}

func TestGather(t *testing.T) {
	self := gathers("self", "x", "x", "y")
	got, err := clusterroleaggregation.Gather(self, []*rbacv1.ClusterRole{
		role("2", "x", rule("pods", "get")), role("1", "x", rule("nodes", "get"), rule("pods", "get")), self,
		role("0", "y", rule("secrets", "get")), role("other", "z", rule("*", "*")),
	})
	want := []rbacv1.PolicyRule{rule("nodes", "get"), rule("pods", "get"), rule("secrets", "get")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	self.AggregationRule.ClusterRoleSelectors[0].MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Odd"}}
	if got, err := clusterroleaggregation.Gather(self, nil); err == nil {
		t.Errorf("an odd selector gathers %v", got)
	}
}
