package apiserver

import (
	"context"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// rule allows verbs on resources; "*" is any.
type rule struct {
	verbs, groups, resources []string
}

func (r *rule) allows(a *Attributes) bool {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	return match(r.verbs, a.Verb) && match(r.groups, a.APIGroup) && match(r.resources, resource)
}

func match(list []string, s string) bool {
	return slices.Contains(list, s) || slices.Contains(list, "*")
}

var (
	readVerbs  = []string{verbGet, verbList, verbWatch}
	writeVerbs = []string{verbCreate, verbUpdate, verbPatch, verbDelete}
	anyVerb    = []string{"*"}
	leaseGroup = []string{"coordination.k8s.io"}
	eventRule  = rule{[]string{verbCreate, verbPatch, verbUpdate}, []string{"", "events.k8s.io"}, []string{"events"}}
)

// componentRules are what the built-in components need, by user or group, after the default cluster
// roles of Kubernetes (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
func componentRules() map[string][]rule {
	return map[string][]rule{
		"system:kube-scheduler": {
			eventRule,
			{readVerbs, []string{"*"}, []string{"*"}},
			{[]string{verbDelete}, []string{""}, []string{"pods"}},
			{[]string{verbCreate}, []string{""}, []string{"bindings", "pods/binding"}},
			{[]string{verbPatch, verbUpdate}, []string{""}, []string{"pods/status", "persistentvolumes", "persistentvolumeclaims"}},
			{writeVerbs, leaseGroup, []string{"leases"}},
			{[]string{verbPatch, verbUpdate}, []string{"scheduling.k8s.io"}, []string{"podgroups/status"}},
		},
		// The controllers of Kubernetes have a role each; the garbage collector's and the
		// namespace controller's together amount to this.
		"system:kube-controller-manager": {{anyVerb, []string{"*"}, []string{"*"}}},
		"system:nodes": {
			eventRule,
			{readVerbs, []string{""}, []string{"services", "endpoints", "nodes", "pods", "secrets", "configmaps", "serviceaccounts", "namespaces", "persistentvolumes", "persistentvolumeclaims"}},
			{readVerbs, []string{"discovery.k8s.io", "node.k8s.io", "storage.k8s.io"}, []string{"*"}},
			{writeVerbs, []string{""}, []string{"nodes"}},
			{[]string{verbPatch, verbUpdate}, []string{""}, []string{"nodes/status", "pods/status"}},
			{[]string{verbCreate, verbDelete}, []string{""}, []string{"pods"}},
			{[]string{verbCreate}, []string{""}, []string{"pods/eviction", "serviceaccounts/token"}},
			{append(slices.Clone(writeVerbs), verbGet), leaseGroup, []string{"leases"}},
		},
		groupAuthenticated: {
			{[]string{verbCreate}, []string{"authorization.k8s.io"}, []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}},
			{[]string{verbCreate}, []string{"authentication.k8s.io"}, []string{"selfsubjectreviews"}},
		},
		"system:kube-proxy": {
			eventRule,
			{readVerbs, []string{""}, []string{"services", "endpoints", "nodes"}},
			{readVerbs, []string{"discovery.k8s.io"}, []string{"endpointslices"}},
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
func DefaultAuthorizer() Authorizer { return staticAuthorizer(componentRules()) }

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

// RulesFor lists the rules of a user and its groups.
func (s staticAuthorizer) RulesFor(_ context.Context, user *Identity, _ string) (authorizationv1.SubjectRulesReviewStatus, error) {
	var out authorizationv1.SubjectRulesReviewStatus
	for _, subject := range append([]string{user.User}, user.Groups...) {
		if subject == GroupMasters {
			out.ResourceRules = append(out.ResourceRules, authorizationv1.ResourceRule{Verbs: anyVerb, APIGroups: anyVerb, Resources: anyVerb})
			out.NonResourceRules = append(out.NonResourceRules, authorizationv1.NonResourceRule{Verbs: anyVerb, NonResourceURLs: anyVerb})
		}
		for _, r := range s[subject] {
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
	return out, nil
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
