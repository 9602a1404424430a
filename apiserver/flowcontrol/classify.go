package flowcontrol

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/inboard/inboard/apiserver"
)

// matches tells whether a schema is about a request.
func matches(spec *flowcontrolv1.FlowSchemaSpec, r *apiserver.RequestInfo) bool {
	for i := range spec.Rules {
		rule := &spec.Rules[i]
		about := false
		if r.IsResource {
			about = slices.ContainsFunc(rule.ResourceRules, func(p flowcontrolv1.ResourcePolicyRule) bool { return matchesResource(&p, r) })
		} else {
			about = slices.ContainsFunc(rule.NonResourceRules, func(p flowcontrolv1.NonResourcePolicyRule) bool { return matchesURL(&p, r) })
		}
		if about && slices.ContainsFunc(rule.Subjects, func(s flowcontrolv1.Subject) bool { return matchesSubject(&s, r.User) }) {
			return true
		}
	}
	return false
}

const accountPrefix = "system:serviceaccount:"

func matchesSubject(s *flowcontrolv1.Subject, user *apiserver.Identity) bool {
	switch {
	case s.Kind == flowcontrolv1.SubjectKindUser && s.User != nil:
		return s.User.Name == flowcontrolv1.NameAll || s.User.Name == user.User
	case s.Kind == flowcontrolv1.SubjectKindGroup && s.Group != nil:
		return s.Group.Name == flowcontrolv1.NameAll || slices.Contains(user.Groups, s.Group.Name)
	case s.Kind == flowcontrolv1.SubjectKindServiceAccount && s.ServiceAccount != nil:
		account, ok := strings.CutPrefix(user.User, accountPrefix)
		namespace, name, whole := strings.Cut(account, ":")
		return ok && whole && namespace == s.ServiceAccount.Namespace &&
			(s.ServiceAccount.Name == flowcontrolv1.NameAll || s.ServiceAccount.Name == name)
	}
	return false
}

func matchesResource(p *flowcontrolv1.ResourcePolicyRule, r *apiserver.RequestInfo) bool {
	if !has(p.Verbs, r.Verb, flowcontrolv1.VerbAll) || !has(p.APIGroups, r.APIGroup, flowcontrolv1.APIGroupAll) ||
		!hasResource(p.Resources, r.Resource, r.Subresource) {
		return false
	}
	if namespace := namespaceOf(r); namespace != "" {
		return has(p.Namespaces, namespace, flowcontrolv1.NamespaceEvery)
	}
	return p.ClusterScope
}

// namespaceOf returns the namespace that a request is in. A request for a Namespace is in that.
func namespaceOf(r *apiserver.RequestInfo) string {
	if r.Namespace == "" && r.Resource == "namespaces" && r.APIGroup == "" {
		return r.Name
	}
	return r.Namespace
}

func hasResource(list []string, resource, subresource string) bool {
	if len(list) == 1 && list[0] == flowcontrolv1.ResourceAll {
		return true
	}
	return slices.ContainsFunc(list, func(s string) bool {
		rest, ok := strings.CutPrefix(s, resource)
		if subresource == "" {
			return ok && rest == ""
		}
		rest, slash := strings.CutPrefix(rest, "/")
		return ok && slash && rest == subresource
	})
}

// has tells whether a list has a word; all is a list's only word that means every one.
func has(list []string, word, all string) bool {
	return len(list) == 1 && list[0] == all || slices.Contains(list, word)
}

func matchesURL(p *flowcontrolv1.NonResourcePolicyRule, r *apiserver.RequestInfo) bool {
	if !has(p.Verbs, r.Verb, flowcontrolv1.VerbAll) {
		return false
	}
	return slices.ContainsFunc(p.NonResourceURLs, func(url string) bool {
		if url == flowcontrolv1.NonResourceAll || url == r.Path {
			return true
		}
		// A URL is also about all that is below it.
		prefix := strings.TrimSuffix(url, "*")
		if !strings.HasSuffix(prefix, "/") {
			prefix += "/"
		}
		return strings.HasPrefix(r.Path, prefix)
	})
}

// distinguisher tells the flows of a schema apart.
func distinguisher(spec *flowcontrolv1.FlowSchemaSpec, r *apiserver.RequestInfo) string {
	if spec.DistinguisherMethod == nil {
		return ""
	}
	if spec.DistinguisherMethod.Type == flowcontrolv1.FlowDistinguisherMethodByNamespaceType {
		return namespaceOf(r)
	}
	return r.User.User
}
