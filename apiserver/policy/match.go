package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var namespacesResource = corev1.SchemeGroupVersion.WithResource("namespaces")

// question is a request as policies look at it. What several of them need is found once.
type question struct {
	*apiserver.AdmissionRequest
	ctx     context.Context
	version apiserver.AdmissionVersion
	// name and ns are what the request calls its object; the namespace of a Namespace is itself.
	name, ns string

	versions  []apiserver.AdmissionVersion
	namespace *corev1.Namespace
}

func newQuestion(ctx context.Context, r *apiserver.AdmissionRequest) *question {
	q := &question{AdmissionRequest: r, ctx: ctx, version: r.Version(), name: r.Ref.Name, ns: r.Ref.Namespace}
	if q.name == "" && r.Object != nil && r.Operation == apiserver.Create {
		q.name = r.Object.GetName()
	}
	if r.Ref.GroupVersionResource == namespacesResource {
		q.ns = q.name
	}
	return q
}

// matches tells whether rules are about a request, and in which version.
func (m *rules) matches(q *question) (bool, apiserver.AdmissionVersion, error) {
	none := apiserver.AdmissionVersion{}
	ok, nsErr := m.matchesNamespace(q)
	if !ok && nsErr == nil {
		return false, none, nil
	}
	ok, objErr := m.matchesObject(q)
	if !ok && objErr == nil {
		return false, none, nil
	}
	if _, excluded := m.versionIn(m.ExcludeResourceRules, q); excluded {
		return false, none, nil
	}
	v := q.version
	if len(m.ResourceRules) > 0 {
		if v, ok = m.versionIn(m.ResourceRules, q); !ok {
			return false, none, nil
		}
	}
	// Only a request that is meant otherwise fails for selectors that can't be told.
	if err := errors.Join(nsErr, objErr); err != nil {
		if nsErr != nil {
			err = nsErr
		}
		return false, none, err
	}
	return true, v, nil
}

// versionIn finds the first rule that is about a request: as it is, or where equivalents count as one for another
// version of its resource.
func (m *rules) versionIn(list []admissionregistrationv1.NamedRuleWithOperations, q *question) (apiserver.AdmissionVersion, bool) {
	for i := range list {
		if ruleMatches(&list[i], q, q.Ref.GroupVersionResource) {
			return q.version, true
		}
	}
	if m.MatchPolicy == nil || *m.MatchPolicy == admissionregistrationv1.Exact || len(list) == 0 {
		return apiserver.AdmissionVersion{}, false
	}
	if q.versions == nil {
		q.versions = q.Versions()
	}
	for i := range list {
		for _, v := range q.versions {
			if v.Resource != q.Ref.GroupVersionResource && ruleMatches(&list[i], q, v.Resource) {
				return v, true
			}
		}
	}
	return apiserver.AdmissionVersion{}, false
}

func ruleMatches(r *admissionregistrationv1.NamedRuleWithOperations, q *question, as schema.GroupVersionResource) bool {
	return has(r.Operations, admissionregistrationv1.OperationType(q.Operation)) &&
		has(r.APIGroups, as.Group) && has(r.APIVersions, as.Version) &&
		slices.ContainsFunc(r.Resources, func(pattern string) bool {
			res, sub, _ := strings.Cut(pattern, "/")
			return (res == "*" || res == as.Resource) && (sub == "*" || sub == q.Ref.Subresource)
		}) &&
		scopeMatches(r.Scope, q, as) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, q.name))
}

func has[T ~string](list []T, want T) bool {
	return slices.ContainsFunc(list, func(s T) bool { return s == "*" || s == want })
}

func scopeMatches(scope *admissionregistrationv1.ScopeType, q *question, as schema.GroupVersionResource) bool {
	cluster := as == namespacesResource || q.ns == ""
	switch {
	case scope == nil || *scope == admissionregistrationv1.AllScopes:
		return true
	case *scope == admissionregistrationv1.NamespacedScope:
		return !cluster
	case *scope == admissionregistrationv1.ClusterScope:
		return cluster
	}
	return false
}

// matchesNamespace looks at the labels of the request's namespace. What is in none always matches.
func (m *rules) matchesNamespace(q *question) (bool, error) {
	if q.ns == "" && q.Ref.Resource != "namespaces" {
		return true, nil
	}
	selector, err := m.namespaces()
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if selector.Empty() {
		return true, nil
	}
	if q.Ref.Resource == "namespaces" && q.Ref.Subresource == "" && q.Object != nil {
		// What is written counts, not what was there.
		return selector.Matches(labels.Set(q.Object.GetLabels())), nil
	}
	ns, err := q.namespaceObject()
	if err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
}

// namespaceObject returns the namespace of the request, which must be in one.
func (q *question) namespaceObject() (*corev1.Namespace, error) {
	if q.namespace != nil {
		return q.namespace, nil
	}
	obj, _, err := q.Lookup(client.Ref{GroupVersionResource: namespacesResource, Name: q.ns})
	if err != nil {
		return nil, err
	}
	ns, ok := obj.(*corev1.Namespace)
	if !ok {
		return nil, apierrors.NewNotFound(namespacesResource.GroupResource(), q.ns)
	}
	q.namespace = ns
	return ns, nil
}

// matchesObject looks at the labels of the object, as it is and as it was.
func (m *rules) matchesObject(q *question) (bool, error) {
	selector, err := m.objects()
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if selector.Empty() {
		return true, nil
	}
	selects := func(obj runtime.Object) bool {
		o, err := meta.Accessor(obj)
		return err == nil && selector.Matches(labels.Set(o.GetLabels()))
	}
	target := q.Target()
	return target != nil && selects(target) || q.Old != nil && selects(q.Old), nil
}

// bound tells whether a binding is about a request that its policy is about.
func (b *binding) bound(q *question) (bool, error) {
	if b.match.MatchResources == nil {
		return true, nil
	}
	ok, _, err := b.match.matches(q)
	return ok, err
}

// paramsOf returns what a policy is to be evaluated with for a binding; one that has no parameters is evaluated once,
// with nil.
func (q *question) paramsOf(kind *admissionregistrationv1.ParamKind, b *binding) ([]runtime.Object, error) {
	ref := b.params
	if kind == nil || ref == nil {
		return []runtime.Object{nil}, nil
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	_, namespaced, ok := q.Served(gvk)
	if !ok {
		return nil, fmt.Errorf("paramKind kind `%v` not known", kind.String())
	}
	ns := ref.Namespace
	switch {
	case namespaced && ns == "":
		if ns = q.ns; ns == "" {
			return nil, errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
		}
	case !namespaced && ns != "":
		return nil, errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	}
	found, err := q.findParams(gvk, ns, b)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionregistrationv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	return found, nil
}

func (q *question) findParams(kind schema.GroupVersionKind, namespace string, b *binding) ([]runtime.Object, error) {
	if b.params.Name != "" {
		obj, ok, err := q.LookupKind(q.ctx, kind, namespace, b.params.Name)
		if err != nil || !ok {
			return nil, err
		}
		return []runtime.Object{obj}, nil
	}
	selector, err := b.selector()
	if err != nil {
		return nil, err
	}
	list, err := q.ListKind(q.ctx, kind, namespace)
	if err != nil {
		return nil, err
	}
	var out []runtime.Object
	for _, obj := range list {
		if selector.Matches(labels.Set(obj.GetLabels())) {
			out = append(out, obj)
		}
	}
	return out, nil
}
