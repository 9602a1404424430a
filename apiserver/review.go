package apiserver

import (
	"context"
	"errors"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
)

// ReviewRequest is what a kind's Review answers with.
type ReviewRequest struct {
	// User is who asks.
	User *Identity
	// Object is the question, which Review may fill in and return.
	Object     client.Object
	Authorizer Authorizer
	// AuthenticateToken tells who a bearer token is of; nil is nobody. Without audiences the token must be
	// for the server itself.
	AuthenticateToken func(ctx context.Context, token string, audiences []string) (*TokenIdentity, error)
	// Post posts a body to a subresource of an object, as part of the request: nobody is asked whether the user may.
	Post func(ctx context.Context, ref client.Ref, body runtime.Object) (runtime.Object, error)
}

// RulesFor returns what a user may do in a namespace, as far as the server's authorizer can list it.
func (r *ReviewRequest) RulesFor(ctx context.Context, user *Identity, namespace string) (authorizationv1.SubjectRulesReviewStatus, error) {
	if l, ok := r.Authorizer.(RuleLister); ok {
		return l.RulesFor(ctx, user, namespace)
	}
	return authorizationv1.SubjectRulesReviewStatus{Incomplete: true}, errors.New("the authorizer doesn't support user rule resolution")
}

// review answers an object of a kind that nothing is stored of; obj becomes the server's.
func (s *Server) review(ctx context.Context, rq *request, obj client.Object) (runtime.Object, error) {
	if err := rq.sameNamespace(obj); err != nil {
		return nil, err
	}
	named := *rq
	named.ref.Name = obj.GetName()
	rq = &named
	s.track(rq, rq.res.new(), obj)
	ar := &AdmissionRequest{Operation: Create, Object: obj}
	if err := s.admit(ctx, rq, ar); err != nil {
		return nil, err
	}
	if rq.res.Validate != nil {
		if errs := rq.res.Validate(obj, nil); len(errs) > 0 {
			// Kubernetes, too, names no kind here.
			return nil, apierrors.NewInvalid(schema.GroupKind{Group: rq.res.Group}, "", errs)
		}
	}
	if _, err := s.validateAdmission(ctx, rq, ar); err != nil {
		return nil, err
	}
	out, err := rq.res.Review(ctx, &ReviewRequest{
		User: rq.user, Object: obj, Authorizer: s.cfg.Authorizer, AuthenticateToken: s.reviewToken,
		Post: func(ctx context.Context, ref client.Ref, body runtime.Object) (runtime.Object, error) {
			return s.post(ctx, rq, ref, body)
		},
	})
	if err != nil {
		return nil, asStatus(err)
	}
	if _, ok := out.(*metav1.Status); !ok {
		out.GetObjectKind().SetGroupVersionKind(rq.res.GroupVersionKind)
	}
	return out, nil
}

// post is ReviewRequest.Post for a request.
func (s *Server) post(ctx context.Context, rq *request, ref client.Ref, body runtime.Object) (runtime.Object, error) {
	res := s.catalog.Load().table.byResource[ref.GroupVersionResource]
	switch {
	case res == nil || res.Subresources[ref.Subresource].Create == nil:
		return nil, notFoundPath()
	case ref.Name == "":
		return nil, badRequest("Name parameter required.")
	}
	on := *rq
	on.ref, on.res, on.as = ref, res, res
	if err := on.one(); err != nil {
		return nil, err
	}
	return s.runSubresource(ctx, &on, body)
}

func (s *Server) reviewToken(ctx context.Context, token string, audiences []string) (*TokenIdentity, error) {
	id, err := s.authenticateToken(ctx, token, audiences)
	if err != nil || id == nil {
		return nil, err
	}
	full := *id
	full.Groups = authenticatedGroups(&full.Identity)
	return &full, nil
}
