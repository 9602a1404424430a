// Package node holds kubelets to what they need, as Kubernetes' Node authorizer and NodeRestriction admission do
// (https://kubernetes.io/docs/reference/access-authn-authz/node/): the user system:node:NAME of the group system:nodes
// may read the Secrets, ConfigMaps, volumes and claims that the pods of its node use, and write its own Node, Lease and
// CSINode and the status of its pods.
//
//	nodes, err := node.New(node.Config{Store: st})
//	policy, err := rbac.New(rbac.Config{Store: st})
//	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(),
//		Authorizer: apiserver.Authorizers(apiserver.NamedAuthorizer{"node", nodes}, apiserver.NamedAuthorizer{"rbac", policy}),
//		Admission:  []apiserver.AdmissionPlugin{node.Restriction()}})
//
// One without the other is a half thing: the authorizer lets nodes create and change objects whose content only
// admission sees.
package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/rbac"
)

// Group is the group of all kubelets, UserPrefix what a kubelet's user begins with; its node's name follows.
const (
	Group      = "system:nodes"
	UserPrefix = "system:node:"
)

// Of returns the name of the node whose kubelet a user is; ok is false for others. The name may be empty: then
// it can't be told which node it is.
func Of(user *apiserver.Identity) (name string, ok bool) {
	name, ok = strings.CutPrefix(user.User, UserPrefix)
	if !ok || !slices.Contains(user.Groups, Group) {
		return "", false
	}
	return name, true
}

// Config describes an Authorizer.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
}

// Authorizer decides what kubelets may do; it allows nobody else anything. Make it with New. It is safe for
// concurrent use.
type Authorizer struct {
	graph *graph
	// rules are for what does not depend on the node.
	rules []rbacv1.PolicyRule
}

var (
	_ apiserver.Authorizer = (*Authorizer)(nil)
	_ apiserver.RuleLister = (*Authorizer)(nil)
)

// New returns an authorizer over a store. It holds cursors over the store's history, but no goroutine, until Close or
// the end of the store.
func New(cfg Config) (*Authorizer, error) {
	if cfg.Store == nil {
		return nil, errors.New("node: Config.Store is missing")
	}
	g, err := newGraph(cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	a := &Authorizer{graph: g}
	for _, obj := range rbac.DefaultPolicy() {
		if role, ok := obj.(*rbacv1.ClusterRole); ok && role.Name == "system:node" {
			a.rules = role.Rules
		}
	}
	return a, nil
}

// Close gives up the cursors. What is asked afterwards about objects that pods refer to is an error.
func (a *Authorizer) Close() error {
	a.graph.follower.Close()
	return nil
}

// Authorize allows what a node's kubelet needs; the reason tells why it does not.
func (a *Authorizer) Authorize(ctx context.Context, attrs *apiserver.Attributes) (bool, string, error) {
	name, ok := Of(attrs.User)
	switch {
	case !ok:
		return false, "", nil
	case name == "":
		return false, fmt.Sprintf("unknown node for user %q", attrs.User.User), nil
	}
	q := question{ctx: ctx, graph: a.graph, node: name, Attributes: attrs}
	if attrs.Path == "" {
		if decide := decisions[groupResource{attrs.APIGroup, attrs.Resource}]; decide != nil {
			reason, err := decide(&q)
			return reason == "" && err == nil, strings.TrimPrefix(reason, silent), err
		}
	}
	return rbac.RulesAllow(attrs, a.rules), "", nil
}

// RulesFor tells that what nodes may do can't be listed.
func (a *Authorizer) RulesFor(_ context.Context, user *apiserver.Identity, _ string) (authorizationv1.SubjectRulesReviewStatus, error) {
	if _, ok := Of(user); ok {
		return authorizationv1.SubjectRulesReviewStatus{Incomplete: true}, errors.New("node authorizer does not support user rule resolution")
	}
	return authorizationv1.SubjectRulesReviewStatus{}, nil
}
