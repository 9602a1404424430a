package rbac

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// everything is what who sets an aggregation rule must be allowed, as such a rule can gather anything.
var everything = []rbacv1.PolicyRule{
	{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
	{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
}

// Admit refuses roles and bindings by which their author would grant more than the author has, unless the author
// may "escalate" the role or "bind" the role that a binding names, see
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping.
func (a *Authorizer) Admit(ctx context.Context, r *apiserver.AdmissionRequest) error {
	if r.Kind.Group != rbacv1.GroupName || r.Object == nil || slices.Contains(r.User.Groups, apiserver.GroupMasters) {
		return nil
	}
	if r.Old != nil && onlyHolds(r.Object, r.Old) {
		return nil
	}
	switch o := r.Object.(type) {
	case *rbacv1.Role:
		return a.admitRole(ctx, r, o.Rules, false)
	case *rbacv1.ClusterRole:
		old, _ := r.Old.(*rbacv1.ClusterRole)
		return a.admitRole(ctx, r, o.Rules, aggregates(o) || aggregates(old))
	case *rbacv1.RoleBinding:
		return a.admitBinding(ctx, r, o.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		return a.admitBinding(ctx, r, o.RoleRef)
	}
	return nil
}

// onlyHolds tells that an update changes nothing but what the garbage collector must be able to change.
func onlyHolds(obj, old client.Object) bool {
	c := obj.DeepCopyObject().(client.Object)
	c.SetOwnerReferences(old.GetOwnerReferences())
	c.SetFinalizers(old.GetFinalizers())
	c.SetManagedFields(old.GetManagedFields())
	return apiequality.Semantic.DeepEqual(c, old)
}

func aggregates(r *rbacv1.ClusterRole) bool {
	return r != nil && r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
}

func (a *Authorizer) admitRole(ctx context.Context, r *apiserver.AdmissionRequest, rules []rbacv1.PolicyRule, aggregation bool) error {
	attrs := &apiserver.Attributes{
		User: r.User, Verb: "escalate", APIGroup: rbacv1.GroupName, APIVersion: "*",
		Resource: r.Ref.Resource, Namespace: r.Ref.Namespace,
	}
	if r.Operation != apiserver.Create { // what is created is not named when access to it is asked for
		attrs.Name = r.Ref.Name
	}
	if ok, _, err := a.Authorize(ctx, attrs); ok && err == nil {
		return nil
	}
	if err := a.covers(ctx, r, rules); err != nil {
		return err
	}
	if !aggregation || a.covers(ctx, r, everything) == nil {
		return nil
	}
	return forbidden(r, errors.New("must have cluster-admin privileges to use the aggregationRule"))
}

func (a *Authorizer) admitBinding(ctx context.Context, r *apiserver.AdmissionRequest, ref rbacv1.RoleRef) error {
	attrs := &apiserver.Attributes{
		User: r.User, Verb: "bind", APIGroup: ref.APIGroup, APIVersion: "*", Namespace: r.Ref.Namespace, Name: ref.Name,
	}
	switch ref.Kind {
	case "Role":
		attrs.Resource = "roles"
	case "ClusterRole":
		attrs.Resource = "clusterroles"
	default:
		return fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
	}
	if ok, _, err := a.Authorize(ctx, attrs); ok && err == nil {
		return nil
	}
	rules, err := a.rulesOf(ctx, ref, r.Ref.Namespace)
	if err != nil {
		return err
	}
	return a.covers(ctx, r, rules)
}

func (a *Authorizer) rulesOf(ctx context.Context, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	if err := a.index.read(ctx); err != nil {
		return nil, err
	}
	defer a.index.mu.RUnlock()
	return a.index.rulesOf(ref, namespace)
}

// covers refuses rules that go beyond what the user has.
func (a *Authorizer) covers(ctx context.Context, r *apiserver.AdmissionRequest, rules []rbacv1.PolicyRule) error {
	own, incomplete := a.rulesFor(ctx, r.User, r.Ref.Namespace)
	ok, missing := validation.Covers(own, rules)
	if ok {
		return nil
	}
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		r.User.User, r.User.Groups, describe(missing))
	if incomplete != nil {
		text += fmt.Sprintf("; resolution errors: %v", []error{incomplete})
	}
	return forbidden(r, errors.New(text))
}

func forbidden(r *apiserver.AdmissionRequest, err error) error {
	return apierrors.NewForbidden(schema.GroupResource{Group: rbacv1.GroupName, Resource: r.Ref.Resource}, r.Object.GetName(), err)
}

// describe returns a line for each resource that rules of one verb, group and resource are about, in order.
func describe(atoms []rbacv1.PolicyRule) string {
	var lines []string
	var order []string
	merged := map[string]*rbacv1.PolicyRule{}
	for i := range atoms {
		r := atoms[i]
		if len(r.APIGroups) != 1 || len(r.Resources) != 1 {
			lines = append(lines, compact(&r))
			continue
		}
		verbs := r.Verbs
		r.Verbs = nil
		about := compact(&r)
		if merged[about] == nil {
			merged[about] = &r
			order = append(order, about)
		}
		merged[about].Verbs = append(merged[about].Verbs, verbs...)
	}
	for _, about := range order {
		lines = append(lines, compact(merged[about]))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// compact writes a rule as Kubernetes' messages do.
func compact(r *rbacv1.PolicyRule) string {
	var parts []string
	for _, p := range []struct {
		name   string
		values []string
	}{
		{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"NonResourceURLs", r.NonResourceURLs},
		{"ResourceNames", r.ResourceNames}, {"Verbs", r.Verbs},
	} {
		if len(p.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", p.name, p.values))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
