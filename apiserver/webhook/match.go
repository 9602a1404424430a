package webhook

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// invocation is a webhook that is to be asked about a request, in a version of its resource.
type invocation struct {
	*hook
	r  *registration.Request
	as apiserver.AdmissionVersion
}

// matches tells whether a webhook is to be asked about a request; nil when it is not.
func (h *hook) matches(ctx context.Context, r *registration.Request) (*invocation, error) {
	if len(h.Rules) == 0 {
		return nil, nil // To a matcher no rules are all.
	}
	ok, as, err := h.matcher.Match(r)
	if err != nil || !ok {
		return nil, err
	}
	i := &invocation{h, r, as}
	if len(h.MatchConditions) == 0 {
		return i, nil
	}
	ok, err = i.matchesConditions(ctx)
	if err != nil || !ok {
		return nil, err
	}
	return i, nil
}

// matchesConditions evaluates the match conditions. Those that can't be evaluated refuse the request, or leave the
// webhook out if it may be.
func (i *invocation) matchesConditions(ctx context.Context) (bool, error) {
	object, old, err := i.r.Objects(i.as)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	in := &cel.Input{Object: object, OldObject: old, Request: i.r.Review(i.as), User: i.r.User, Authorizer: i.r.Authorizer()}
	ok, _, err := i.conditions().Match(ctx, in)
	if err != nil {
		return false, apierrors.NewForbidden(i.r.Ref.GroupResource(), i.r.Ref.Name, err)
	}
	return ok, nil
}
