package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/inboard/inboard/apiserver"
)

// question is a request as rules are compared with it.
type question struct {
	*apiserver.Attributes
	// resource is the resource with its subresource, "pods/log".
	resource string
}

func newQuestion(a *apiserver.Attributes) question {
	q := question{Attributes: a, resource: a.Resource}
	if a.Subresource != "" {
		q.resource += "/" + a.Subresource
	}
	return q
}

func (q *question) allowedBy(rules []rbacv1.PolicyRule) bool {
	for i := range rules {
		if q.allowedByRule(&rules[i]) {
			return true
		}
	}
	return false
}

func (q *question) allowedByRule(r *rbacv1.PolicyRule) bool {
	if q.Path != "" {
		return matches(r.Verbs, q.Verb) && slices.ContainsFunc(r.NonResourceURLs, q.isBelow)
	}
	return matches(r.Verbs, q.Verb) && matches(r.APIGroups, q.APIGroup) && q.isOneOf(r.Resources) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, q.Name))
}

// matches tells whether a list names s, or all with "*".
func matches(list []string, s string) bool {
	for _, l := range list {
		if l == s || l == rbacv1.VerbAll {
			return true
		}
	}
	return false
}

// isOneOf tells whether a rule names the resource, all resources with "*", or the subresource of all with
// "*/SUBRESOURCE".
func (q *question) isOneOf(resources []string) bool {
	for _, r := range resources {
		if r == q.resource || r == rbacv1.ResourceAll {
			return true
		}
		if sub, ok := strings.CutPrefix(r, "*/"); ok && q.Subresource != "" && sub == q.Subresource {
			return true
		}
	}
	return false
}

// isBelow tells whether a rule's URL, which may end with "*", is the path or leads to it.
func (q *question) isBelow(url string) bool {
	return url == q.Path || strings.HasSuffix(url, "*") && strings.HasPrefix(q.Path, strings.TrimRight(url, "*"))
}

// RulesAllow tells whether one of the rules allows a request, whoever makes it.
func RulesAllow(a *apiserver.Attributes, rules []rbacv1.PolicyRule) bool {
	q := newQuestion(a)
	return q.allowedBy(rules)
}
