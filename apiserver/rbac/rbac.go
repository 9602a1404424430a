// Package rbac decides by role-based access control, as kube-apiserver's authorizer of that name does
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/): Roles and ClusterRoles hold rules,
// RoleBindings and ClusterRoleBindings grant them to users, groups and service accounts. The objects are
// read where the API server stores them; nothing trails behind.
//
//	policy, err := rbac.New(rbac.Config{Store: st})
//	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Authorizer: policy})
//
// The server then also refuses roles and bindings that would grant more than their author has, and its Run
// makes Kubernetes' default roles and bindings.
package rbac

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Config describes an Authorizer.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
	// Policy are roles and bindings that Bootstrap makes and mends besides those of DefaultPolicy: what the
	// program's own components need.
	Policy []client.Object
	// Retired are bindings that earlier versions of the program had in Policy. Bootstrap takes their subjects from them,
	// and removes those that have no others; as in Policy, what is marked or leads to another role is left alone.
	Retired []*rbacv1.ClusterRoleBinding
}

// Authorizer decides by the roles and bindings in a store. Make it with New. It is safe for concurrent use.
type Authorizer struct {
	index   *index
	policy  []client.Object
	retired []*rbacv1.ClusterRoleBinding
}

var (
	_ apiserver.Policy     = (*Authorizer)(nil)
	_ apiserver.RuleLister = (*Authorizer)(nil)
)

// New returns an authorizer over a store. It holds a cursor over the store's history, but no goroutine,
// until Close or the end of the store.
func New(cfg Config) (*Authorizer, error) {
	if cfg.Store == nil {
		return nil, errors.New("rbac: Config.Store is missing")
	}
	ix, err := newIndex(cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("rbac: %w", err)
	}
	return &Authorizer{index: ix, policy: cfg.Policy, retired: cfg.Retired}, nil
}

// Close gives up the cursor. What is asked afterwards is an error.
func (a *Authorizer) Close() error {
	a.index.close()
	return nil
}

// Authorize allows what a rule allows that is granted to the user or to one of the user's groups, and
// everything to the group system:masters. The reason names the binding, or the roles that bindings of the user
// name and that do not exist.
func (a *Authorizer) Authorize(ctx context.Context, attrs *apiserver.Attributes) (bool, string, error) {
	if slices.Contains(attrs.User.Groups, apiserver.GroupMasters) {
		return true, "", nil
	}
	if err := a.index.read(ctx); err != nil {
		return false, "", err
	}
	defer a.index.mu.RUnlock()
	q := newQuestion(attrs)
	var missing []error
	allowed, reason := false, ""
	a.index.each(attrs.User, attrs.Namespace, func(g *grant) bool {
		if !g.role.exists {
			missing = append(missing, g.role.notFound())
		}
		if allowed = q.allowedBy(g.role.rules); allowed {
			reason = g.reason
		}
		return !allowed
	})
	if !allowed && len(missing) > 0 {
		reason = fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(missing))
	}
	return allowed, reason, nil
}

// RulesFor returns what a user may do in a namespace and in the cluster. An error tells that
// there may be more.
func (a *Authorizer) RulesFor(ctx context.Context, user *apiserver.Identity, namespace string) (authorizationv1.SubjectRulesReviewStatus, error) {
	list, err := a.rulesFor(ctx, user, namespace)
	out := authorizationv1.SubjectRulesReviewStatus{}
	for _, r := range list {
		if len(r.Resources) > 0 {
			out.ResourceRules = append(out.ResourceRules, authorizationv1.ResourceRule{
				Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames})
		}
		if len(r.NonResourceURLs) > 0 {
			out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{Verbs: r.Verbs, NonResourceURLs: r.NonResourceURLs})
		}
	}
	return out, err
}

// rulesFor returns the rules that are granted to a user, each binding's once; they are shared.
func (a *Authorizer) rulesFor(ctx context.Context, user *apiserver.Identity, namespace string) ([]rbacv1.PolicyRule, error) {
	if err := a.index.read(ctx); err != nil {
		return nil, err
	}
	defer a.index.mu.RUnlock()
	var out []rbacv1.PolicyRule
	var missing []error
	seen := map[*binding]bool{}
	a.index.each(user, namespace, func(g *grant) bool {
		if seen[g.binding] {
			return true
		}
		seen[g.binding] = true
		if !g.role.exists {
			missing = append(missing, g.role.notFound())
		}
		out = append(out, g.role.rules...)
		return true
	})
	return out, utilerrors.NewAggregate(missing)
}
