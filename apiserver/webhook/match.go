package webhook

import (
	"context"
	"errors"
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
	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/client"
)

// invocation is a webhook that is to be asked about a request, in a version of its resource.
type invocation struct {
	*hook
	as apiserver.AdmissionVersion
}

var namespacesResource = corev1.SchemeGroupVersion.WithResource("namespaces")

// namespaceOf returns the namespace of a request; that of a Namespace is itself.
func namespaceOf(r *apiserver.AdmissionRequest) string {
	if r.Ref.GroupVersionResource != namespacesResource {
		return r.Ref.Namespace
	}
	if r.Ref.Name == "" && r.Object != nil {
		return r.Object.GetName()
	}
	return r.Ref.Name
}

// matches tells whether a webhook is to be asked about a request; nil when it is not.
func (h *hook) matches(ctx context.Context, r *apiserver.AdmissionRequest) (*invocation, error) {
	as, ok := h.versionFor(r)
	if !ok {
		return nil, nil
	}
	ok, nsErr := h.matchesNamespace(r)
	if !ok && nsErr == nil {
		return nil, nil
	}
	ok, err := h.matchesObject(r)
	if !ok && err == nil {
		return nil, nil
	}
	if err := errors.Join(nsErr, err); err != nil {
		return nil, statusOf(err)
	}
	i := &invocation{h, as}
	if len(h.MatchConditions) == 0 {
		return i, nil
	}
	ok, err = i.matchesConditions(ctx, r)
	if err != nil || !ok {
		return nil, err
	}
	return i, nil
}

// statusOf returns an error that is a status, or else an internal error.
func statusOf(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return apierrors.NewInternalError(err)
}

// versionFor finds the version that the webhook's rules ask for: the request's own or, where the webhook takes
// equivalents, another one of the same resource. Earlier rules count first.
func (h *hook) versionFor(r *apiserver.AdmissionRequest) (apiserver.AdmissionVersion, bool) {
	for i := range h.Rules {
		if ruleMatches(&h.Rules[i], r, r.Ref.GroupVersionResource) {
			return r.Version(), true
		}
	}
	if h.MatchPolicy == nil || *h.MatchPolicy != admissionregistrationv1.Equivalent {
		return apiserver.AdmissionVersion{}, false
	}
	versions := r.Versions()
	if len(versions) == 1 {
		return apiserver.AdmissionVersion{}, false
	}
	for i := range h.Rules {
		for _, v := range versions {
			if v.Resource != r.Ref.GroupVersionResource && ruleMatches(&h.Rules[i], r, v.Resource) {
				return v, true
			}
		}
	}
	return apiserver.AdmissionVersion{}, false
}

// ruleMatches tells whether a rule is about a request for a resource.
func ruleMatches(rule *admissionregistrationv1.RuleWithOperations, r *apiserver.AdmissionRequest, resource schema.GroupVersionResource) bool {
	return scopeMatches(rule.Scope, r, resource) &&
		(slices.Contains(rule.Operations, admissionregistrationv1.OperationAll) || slices.Contains(rule.Operations, admissionregistrationv1.OperationType(r.Operation))) &&
		hasOrAny(rule.APIGroups, resource.Group) && hasOrAny(rule.APIVersions, resource.Version) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool {
			res, sub, _ := strings.Cut(pattern, "/")
			return (res == "*" || res == resource.Resource) && (sub == "*" || sub == r.Ref.Subresource)
		})
}

func hasOrAny(list []string, want string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return s == "*" || s == want })
}

func scopeMatches(scope *admissionregistrationv1.ScopeType, r *apiserver.AdmissionRequest, resource schema.GroupVersionResource) bool {
	if scope == nil || *scope == admissionregistrationv1.AllScopes {
		return true
	}
	cluster := resource == namespacesResource || r.Ref.Namespace == ""
	switch *scope {
	case admissionregistrationv1.NamespacedScope:
		return !cluster
	case admissionregistrationv1.ClusterScope:
		return cluster
	}
	return false
}

// matchesNamespace looks at the labels of the request's namespace. What is in none is never left out.
func (h *hook) matchesNamespace(r *apiserver.AdmissionRequest) (bool, error) {
	if namespaceOf(r) == "" && r.Ref.Resource != "namespaces" {
		return true, nil
	}
	selector, err := h.namespaces()
	if err != nil || selector.Empty() {
		return err == nil, err
	}
	if r.Ref.Resource == "namespaces" && r.Ref.Subresource == "" && r.Object != nil {
		// What is written counts, not what was there.
		return selector.Matches(labels.Set(r.Object.GetLabels())), nil
	}
	ns, err := namespaceObject(r)
	if err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(ns.GetLabels())), nil
}

// namespaceObject returns the namespace of a request.
func namespaceObject(r *apiserver.AdmissionRequest) (client.Object, error) {
	name := namespaceOf(r)
	obj, ok, err := r.Lookup(client.Ref{GroupVersionResource: namespacesResource, Name: name})
	if err == nil && !ok {
		err = apierrors.NewNotFound(namespacesResource.GroupResource(), name)
	}
	return obj, err
}

// matchesObject looks at the labels of the object, as it is and as it was.
func (h *hook) matchesObject(r *apiserver.AdmissionRequest) (bool, error) {
	selector, err := h.objects()
	if err != nil || selector.Empty() {
		return err == nil, err
	}
	selects := func(obj runtime.Object) bool {
		m, err := meta.Accessor(obj)
		return err == nil && selector.Matches(labels.Set(m.GetLabels()))
	}
	target := r.Target()
	return target != nil && selects(target) || r.Old != nil && selects(r.Old), nil
}

// matchesConditions evaluates the match conditions. Those that can't be evaluated refuse the request, or leave the
// webhook out if it may be.
func (i *invocation) matchesConditions(ctx context.Context, r *apiserver.AdmissionRequest) (bool, error) {
	object, old, err := i.objectsOf(r)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	in := &cel.Input{Object: object, OldObject: old, Request: i.request(r, nil, nil), User: r.User, Authorizer: r.Authorizer()}
	ok, _, err := i.conditions().Match(ctx, in)
	if err != nil {
		return false, apierrors.NewForbidden(r.Ref.GroupResource(), r.Ref.Name, err)
	}
	return ok, nil
}

// objectsOf returns the object and its old state in the version that the webhook asks for, nil for what is not there.
func (i *invocation) objectsOf(r *apiserver.AdmissionRequest) (object, old runtime.Object, err error) {
	if target := r.Target(); target != nil {
		if object, err = r.As(target, i.as.Kind); err != nil {
			return nil, nil, err
		}
	}
	if r.Old != nil {
		if old, err = r.As(r.Old, i.as.Kind); err != nil {
			return nil, nil, err
		}
	}
	return object, old, nil
}
