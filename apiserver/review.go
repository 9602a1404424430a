package apiserver

import (
	"context"
	"errors"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
}

// RulesFor returns what a user may do in a namespace, as far as the server's authorizer can list it.
func (r *ReviewRequest) RulesFor(ctx context.Context, user *Identity, namespace string) (authorizationv1.SubjectRulesReviewStatus, error) {
	if l, ok := r.Authorizer.(RuleLister); ok {
		return l.RulesFor(ctx, user, namespace)
	}
	return authorizationv1.SubjectRulesReviewStatus{Incomplete: true}, errors.New("the authorizer doesn't support user rule resolution")
}

// review answers an object of a kind that nothing is stored of. Admission is not asked: whether a namespace
// exists, for one, would tell what its answer need not.
func (s *Server) review(ctx context.Context, rq *request, obj client.Object) (found, error) {
	s.track(rq, rq.res.new(), obj)
	if rq.res.Validate != nil {
		if errs := rq.res.Validate(obj, nil); len(errs) > 0 {
			// Kubernetes, too, names no kind here.
			return found{}, apierrors.NewInvalid(schema.GroupKind{Group: rq.res.Group}, "", errs)
		}
	}
	out, err := rq.res.Review(ctx, &ReviewRequest{
		User: rq.user, Object: obj, Authorizer: s.cfg.Authorizer, AuthenticateToken: s.reviewToken,
	})
	if err != nil {
		return found{}, asStatus(err)
	}
	out.GetObjectKind().SetGroupVersionKind(rq.res.GroupVersionKind)
	return found{obj: out}, nil
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
