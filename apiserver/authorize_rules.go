package apiserver

import (
	"context"
	"errors"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// rule allows verbs on resources; "*" is any.
type rule struct {
	verbs, groups, resources []string
	limit                    limit // nil is none
}

func (r *rule) allows(a *Attributes) bool {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	return match(r.verbs, a.Verb) && match(r.groups, a.APIGroup) && match(r.resources, resource) && (r.limit == nil || r.limit(a))
}

func match(list []string, s string) bool {
	return slices.Contains(list, s) || slices.Contains(list, "*")
}

var (
	readVerbs  = []string{verbGet, verbList, verbWatch}
	writeVerbs = []string{verbCreate, verbUpdate, verbPatch, verbDelete}
	anyVerb    = []string{"*"}
	leaseGroup = []string{"coordination.k8s.io"}
	eventRule  = rule{verbs: []string{verbCreate, verbPatch, verbUpdate}, groups: []string{"", "events.k8s.io"}, resources: []string{"events"}}
)

// componentRules are what the built-in components need, by user or group, after the default cluster
// roles of Kubernetes (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
func componentRules() map[string][]rule {
	return map[string][]rule{
		"system:kube-scheduler": {
			eventRule,
			{verbs: readVerbs, groups: []string{"*"}, resources: []string{"*"}},
			{verbs: []string{verbDelete}, groups: []string{""}, resources: []string{"pods"}},
			{verbs: []string{verbCreate}, groups: []string{""}, resources: []string{"bindings", "pods/binding"}},
			{verbs: []string{verbPatch, verbUpdate}, groups: []string{""}, resources: []string{"pods/status", "persistentvolumes", "persistentvolumeclaims"}},
			{verbs: writeVerbs, groups: leaseGroup, resources: []string{"leases"}},
			{verbs: []string{verbPatch, verbUpdate}, groups: []string{"scheduling.k8s.io"}, resources: []string{"podgroups/status"}},
		},
		// The controllers of Kubernetes have a role each; the garbage collector's and the
		// namespace controller's together amount to this.
		"system:kube-controller-manager": {{verbs: anyVerb, groups: anyVerb, resources: anyVerb}},
		groupNodes:                       nodeRules(),
		groupAuthenticated: {
			{verbs: []string{verbCreate}, groups: []string{"authorization.k8s.io"}, resources: []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}},
			{verbs: []string{verbCreate}, groups: []string{"authentication.k8s.io"}, resources: []string{"selfsubjectreviews"}},
		},
		"system:kube-proxy": {
			eventRule,
			{verbs: readVerbs, groups: []string{""}, resources: []string{"services", "endpoints", "nodes"}},
			{verbs: readVerbs, groups: []string{"discovery.k8s.io"}, resources: []string{"endpointslices"}},
		},
	}
}

// publicPaths may be read by everyone, everyonesPaths and what is below them by who has proved an identity.
var (
	publicPaths    = []string{"/healthz", "/livez", "/readyz", "/version", "/version/"}
	everyonesPaths = []string{"/api", "/apis", "/openapi", "/.well-known/openid-configuration", "/openid/v1/jwks"}
)

// DefaultAuthorizer lets the group system:masters do everything, lets the identities of the built-in
// components (system:kube-scheduler, system:kube-controller-manager, system:kube-proxy, the group
// system:nodes) do what they need, lets the authenticated read discovery and schemas and review their
// own access, and everyone read health and version. It denies the rest.
//
// Nodes may read and write what is theirs by its name or the selector that they give; which pods are theirs, and which
// secrets those use, only package node can tell. A program that asks its Authorizer first leaves nodes out here:
//
//	apiserver.Authorizers(apiserver.NamedAuthorizer{"node", nodes},
//		apiserver.NamedAuthorizer{"components", apiserver.DefaultAuthorizer(node.Group)})
func DefaultAuthorizer(without ...string) Authorizer {
	rules := componentRules()
	for _, subject := range without {
		delete(rules, subject)
	}
	return staticAuthorizer(rules)
}

type staticAuthorizer map[string][]rule

// Authorize looks the request up in the rules.
func (s staticAuthorizer) Authorize(_ context.Context, a *Attributes) (bool, string, error) {
	if slices.Contains(a.User.Groups, GroupMasters) {
		return true, "", nil
	}
	if a.Path != "" {
		return a.Verb == verbGet && pathAllowed(a), "", nil
	}
	if s.allowed(a.User.User, a) {
		return true, "", nil
	}
	for _, g := range a.User.Groups {
		if s.allowed(g, a) {
			return true, "", nil
		}
	}
	return false, "", nil
}

// errLimited tells that rules are not listed that depend on the object.
var errLimited = errors.New("what depends on the object that is asked for is not listed")

// RulesFor lists the rules of a user and its groups.
func (s staticAuthorizer) RulesFor(_ context.Context, user *Identity, _ string) (authorizationv1.SubjectRulesReviewStatus, error) {
	var out authorizationv1.SubjectRulesReviewStatus
	var err error
	for _, subject := range append([]string{user.User}, user.Groups...) {
		if subject == GroupMasters {
			out.ResourceRules = append(out.ResourceRules, authorizationv1.ResourceRule{Verbs: anyVerb, APIGroups: anyVerb, Resources: anyVerb})
			out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{Verbs: anyVerb, NonResourceURLs: anyVerb})
		}
		for _, r := range s[subject] {
			if r.limit != nil {
				out.Incomplete, err = true, errLimited
				continue
			}
			out.ResourceRules = append(out.ResourceRules, authorizationv1.ResourceRule{Verbs: r.verbs, APIGroups: r.groups, Resources: r.resources})
		}
	}
	out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{Verbs: []string{verbGet}, NonResourceURLs: publicPaths})
	if user.User != anonymous {
		for _, root := range everyonesPaths {
			out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{
				Verbs: []string{verbGet}, NonResourceURLs: []string{root, root + "/*"}})
		}
	}
	return out, err
}

func (s staticAuthorizer) allowed(subject string, a *Attributes) bool {
	for i := range s[subject] {
		if s[subject][i].allows(a) {
			return true
		}
	}
	return false
}

func pathAllowed(a *Attributes) bool {
	if slices.Contains(publicPaths, a.Path) {
		return true
	}
	return a.User.User != anonymous && below(everyonesPaths, a.Path)
}

// below tells whether path is one of roots, or under one.
func below(roots []string, path string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}
