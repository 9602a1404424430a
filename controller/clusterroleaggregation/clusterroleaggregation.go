// Package clusterroleaggregation keeps the rules of aggregated ClusterRoles, such as admin, edit and view: those of
// all ClusterRoles that an aggregation rule selects
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles).
package clusterroleaggregation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// manager is the controller's field manager, as in Kubernetes.
const manager = "clusterrole-aggregation-controller"

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("clusterroleaggregation: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	r := &reconciler{client: g.ClientFor("clusterrole-aggregation-controller")}
	var err error
	if r.roles, err = controller.ViewOf[*rbacv1.ClusterRole](g); err != nil {
		return fmt.Errorf("clusterroleaggregation: %w", err)
	}
	// Which roles a role's change matters to is not known before it is looked for; those that gather are few.
	all := controller.On[*rbacv1.ClusterRole]{Keys: func(*rbacv1.ClusterRole) []controller.Key { return r.gathering() }}
	self := controller.On[*rbacv1.ClusterRole]{Where: func(_, after *rbacv1.ClusterRole) bool {
		return after != nil && after.AggregationRule != nil
	}}
	_, err = g.Add(controller.Config{Name: "clusterrole-aggregation", Reconciler: r, Sources: []controller.Source{self, all}, Logger: cfg.Logger})
	return err
}

type reconciler struct {
	client client.Interface
	roles  *controller.View[*rbacv1.ClusterRole]
}

// gathering returns the roles with an aggregation rule.
func (r *reconciler) gathering() []controller.Key {
	var keys []controller.Key
	for _, role := range r.roles.List("") {
		if role.AggregationRule != nil {
			keys = append(keys, controller.Key{Name: role.Name})
		}
	}
	return keys
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	role, ok := r.roles.Get("", key.Name)
	if !ok || role.AggregationRule == nil {
		return controller.Result{}, nil
	}
	rules, err := Gather(role, r.roles.List(""))
	if err != nil || apiequality.Semantic.DeepEqual(rules, role.Rules) {
		return controller.Result{}, err
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": "ClusterRole",
		"metadata": map[string]any{"name": role.Name}, "rules": rules,
	})
	if err != nil {
		return controller.Result{}, err
	}
	ref := client.For[*rbacv1.ClusterRole](r.client).Ref("", role.Name)
	_, err = r.client.Patch(ctx, ref, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: manager, Force: ptr.To(true)})
	return controller.Result{}, err
}

// Gather returns the rules of all the roles that the role's aggregation rule selects, each once: selector by
// selector, in the order of the roles' names.
func Gather(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	all = slices.SortedFunc(slices.Values(all), func(a, b *rbacv1.ClusterRole) int { return cmp.Compare(a.Name, b.Name) })
	rules := []rbacv1.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.Name == role.Name || !selector.Matches(labels.Set(other.Labels)) {
				continue
			}
			for _, rule := range other.Rules {
				same := func(r rbacv1.PolicyRule) bool { return apiequality.Semantic.DeepEqual(r, rule) }
				if !slices.ContainsFunc(rules, same) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules, nil
}
