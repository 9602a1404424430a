package registration

import (
	"errors"
	"slices"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
)

// reviews are resources that neither webhooks nor policies are asked about: nothing of them is stored, and who is kept
// from asking what one may do can't mend what keeps one from it.
var reviews = map[string][]string{
	"authentication.k8s.io": {"selfsubjectreviews", "tokenreviews"},
	"authorization.k8s.io":  {"localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"},
}

// IsReview tells of resources that neither webhooks nor policies are asked about, whatever their rules say.
func IsReview(group, resource string) bool { return slices.Contains(reviews[group], resource) }

// Matcher tells which requests a webhook, a policy or a binding is about. It is safe for concurrent use.
type Matcher struct {
	*admissionregistrationv1.MatchResources
	// The selectors are made when they are first needed.
	namespaces, objects func() (labels.Selector, error)
}

// NewMatcher returns the matcher of rules and selectors, which are kept. Without ResourceRules it is about all resources.
func NewMatcher(m *admissionregistrationv1.MatchResources) *Matcher {
	return &Matcher{
		MatchResources: m,
		namespaces:     sync.OnceValues(func() (labels.Selector, error) { return metav1.LabelSelectorAsSelector(m.NamespaceSelector) }),
		objects:        sync.OnceValues(func() (labels.Selector, error) { return metav1.LabelSelectorAsSelector(m.ObjectSelector) }),
	}
}

// Match tells whether a request is meant, and in which version. An error is a status: only a request that is meant
// otherwise fails for selectors that can't be told.
func (m *Matcher) Match(r *Request) (bool, apiserver.AdmissionVersion, error) {
	none := apiserver.AdmissionVersion{}
	if _, excluded := m.versionIn(m.ExcludeResourceRules, r); excluded {
		return false, none, nil
	}
	as, ok := r.Version(), true
	if len(m.ResourceRules) > 0 {
		if as, ok = m.versionIn(m.ResourceRules, r); !ok {
			return false, none, nil
		}
	}
	ok, nsErr := m.matchNamespace(r)
	if !ok && nsErr == nil {
		return false, none, nil
	}
	ok, err := m.matchObject(r)
	if !ok && err == nil {
		return false, none, nil
	}
	if nsErr != nil {
		err = nsErr
	}
	if err != nil {
		return false, none, statusOf(err)
	}
	return true, as, nil
}

// statusOf returns an error that is a status, or else an internal error.
func statusOf(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return apierrors.NewInternalError(err)
}

// versionIn finds the first rule that is about a request: as it is or, where equivalents count as one, for another
// version of its resource. Earlier rules count first.
func (m *Matcher) versionIn(list []admissionregistrationv1.NamedRuleWithOperations, r *Request) (apiserver.AdmissionVersion, bool) {
	for i := range list {
		if ruleMatches(&list[i], r, r.Ref.GroupVersionResource) {
			return r.Version(), true
		}
	}
	if m.MatchPolicy == nil || *m.MatchPolicy != admissionregistrationv1.Equivalent || len(list) == 0 {
		return apiserver.AdmissionVersion{}, false
	}
	if r.versions == nil {
		r.versions = r.Versions()
	}
	for i := range list {
		for _, v := range r.versions {
			if v.Resource != r.Ref.GroupVersionResource && ruleMatches(&list[i], r, v.Resource) {
				return v, true
			}
		}
	}
	return apiserver.AdmissionVersion{}, false
}

func ruleMatches(rule *admissionregistrationv1.NamedRuleWithOperations, r *Request, as schema.GroupVersionResource) bool {
	return has(rule.Operations, admissionregistrationv1.OperationType(r.Operation)) &&
		has(rule.APIGroups, as.Group) && has(rule.APIVersions, as.Version) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool {
			resource, sub, _ := strings.Cut(pattern, "/")
			return (resource == "*" || resource == as.Resource) && (sub == "*" || sub == r.Ref.Subresource)
		}) &&
		scopeMatches(rule.Scope, r) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Name))
}

func has[T ~string](list []T, want T) bool {
	return slices.ContainsFunc(list, func(s T) bool { return s == "*" || s == want })
}

func scopeMatches(scope *admissionregistrationv1.ScopeType, r *Request) bool {
	switch {
	case scope == nil || *scope == admissionregistrationv1.AllScopes:
		return true
	case *scope == admissionregistrationv1.NamespacedScope:
		return r.Namespaced()
	case *scope == admissionregistrationv1.ClusterScope:
		return !r.Namespaced()
	}
	return false
}

// matchNamespace looks at the labels of the request's namespace. What is in none always matches.
func (m *Matcher) matchNamespace(r *Request) (bool, error) {
	if r.Namespace == "" && r.Ref.Resource != "namespaces" {
		return true, nil
	}
	selector, err := m.namespaces()
	if err != nil || selector.Empty() {
		return err == nil, err
	}
	if r.Ref.Resource == "namespaces" && r.Ref.Subresource == "" && r.Object != nil {
		// What is written counts, not what was there.
		return selector.Matches(labels.Set(r.Object.GetLabels())), nil
	}
	ns, err := r.NamespaceObject()
	if err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
}

// matchObject looks at the labels of the object, as it is and as it was.
func (m *Matcher) matchObject(r *Request) (bool, error) {
	selector, err := m.objects()
	if err != nil || selector.Empty() {
		return err == nil, err
	}
	selects := func(obj runtime.Object) bool {
		o, err := meta.Accessor(obj)
		return err == nil && selector.Matches(labels.Set(o.GetLabels()))
	}
	target := r.Target()
	return target != nil && selects(target) || r.Old != nil && selects(r.Old), nil
}
