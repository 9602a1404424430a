// Package authorization has the rows of authorization.k8s.io/v1: questions about who may do what, which the
// server's authorizer answers and nothing is stored of.
package authorization

import (
	"cmp"
	"context"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{LocalSubjectAccessReview(), SelfSubjectAccessReview(), SelfSubjectRulesReview(), SubjectAccessReview()}
}

func newKind(kind string, obj client.Object) apiserver.Kind {
	singular := strings.ToLower(kind)
	k := apiserver.Kind{GroupVersionKind: authorizationv1.SchemeGroupVersion.WithKind(kind), Resource: singular + "s", Singular: singular, Object: obj, Verbs: []string{"create"}}
	k.Columns, k.Row = row.Plain()
	return k
}

// SubjectAccessReview returns the row of SubjectAccessReview: may a user do something?
func SubjectAccessReview() apiserver.Kind {
	k := newKind("SubjectAccessReview", &authorizationv1.SubjectAccessReview{})
	k.Validate = row.Check(validateSubjectAccess)
	k.Review = func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		o := r.Object.(*authorizationv1.SubjectAccessReview)
		o.Status = ask(ctx, r, subjectOf(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
		return o, nil
	}
	return k
}

// LocalSubjectAccessReview returns the row of LocalSubjectAccessReview: may a user do something in this namespace?
func LocalSubjectAccessReview() apiserver.Kind {
	k := newKind("LocalSubjectAccessReview", &authorizationv1.LocalSubjectAccessReview{})
	k.Namespaced = true
	k.Validate = row.Check(validateLocalSubjectAccess)
	k.Review = func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		o := r.Object.(*authorizationv1.LocalSubjectAccessReview)
		o.Status = ask(ctx, r, subjectOf(&o.Spec), o.Spec.ResourceAttributes, nil)
		return o, nil
	}
	return k
}

// SelfSubjectAccessReview returns the row of SelfSubjectAccessReview: may I do something?
func SelfSubjectAccessReview() apiserver.Kind {
	k := newKind("SelfSubjectAccessReview", &authorizationv1.SelfSubjectAccessReview{})
	k.Validate = row.Check(validateSelfSubjectAccess)
	k.Review = func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		o := r.Object.(*authorizationv1.SelfSubjectAccessReview)
		o.Status = ask(ctx, r, r.User, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
		return o, nil
	}
	return k
}

// SelfSubjectRulesReview returns the row of SelfSubjectRulesReview: what may I do in a namespace?
func SelfSubjectRulesReview() apiserver.Kind {
	k := newKind("SelfSubjectRulesReview", &authorizationv1.SelfSubjectRulesReview{})
	k.Review = func(ctx context.Context, r *apiserver.ReviewRequest) (runtime.Object, error) {
		namespace := r.Object.(*authorizationv1.SelfSubjectRulesReview).Spec.Namespace
		if namespace == "" {
			return nil, apierrors.NewBadRequest("no namespace on request")
		}
		o := &authorizationv1.SelfSubjectRulesReview{}
		var err error
		if o.Status, err = r.RulesFor(ctx, r.User, namespace); err != nil {
			o.Status.EvaluationError = err.Error()
		}
		if o.Status.ResourceRules == nil {
			o.Status.ResourceRules = []authorizationv1.ResourceRule{}
		}
		if o.Status.NonResourceRules == nil {
			o.Status.NonResourceRules = []authorizationv1.NonResourceRule{}
		}
		return o, nil
	}
	return k
}

func subjectOf(s *authorizationv1.SubjectAccessReviewSpec) *apiserver.Identity {
	id := &apiserver.Identity{User: s.User, Groups: s.Groups, UID: s.UID}
	for key, values := range s.Extra {
		if id.Extra == nil {
			id.Extra = map[string][]string{}
		}
		id.Extra[key] = values
	}
	return id
}

// ask puts the question to the authorizer.
func ask(ctx context.Context, r *apiserver.ReviewRequest, user *apiserver.Identity, resource *authorizationv1.ResourceAttributes,
	path *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	a := &apiserver.Attributes{User: user}
	var ignored []string
	if resource != nil {
		a.Verb, a.Namespace, a.APIGroup, a.APIVersion = resource.Verb, resource.Namespace, resource.Group, resource.Version
		a.Resource, a.Subresource, a.Name = resource.Resource, resource.Subresource, resource.Name
		if a.APIVersion == "" {
			a.APIVersion = "*"
		}
		ignored = limit(a, resource)
	} else {
		a.Verb, a.Path = path.Verb, cmp.Or(path.Path, "/")
	}
	allowed, reason, err := r.Authorizer.Authorize(ctx, a)
	status := authorizationv1.SubjectAccessReviewStatus{Allowed: allowed && err == nil, Reason: reason}
	if err != nil {
		ignored = append([]string{err.Error()}, ignored...)
	}
	status.EvaluationError = strings.Join(ignored, "; ")
	return status
}
