package apiserver

import (
	"context"
	"errors"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/inboard/inboard/apiserver/client"
)

// NamedAuthorizer is one of several Authorizers; the name stands before its reasons.
type NamedAuthorizer struct {
	Name string
	Authorizer
}

// Authorizers returns an Authorizer that asks several in turn until one allows, as kube-apiserver's
// --authorization-mode does with more than one mode. It is a Policy as far as they are. What can't be told by one of
// them is an error unless another one allows.
//
//	apiserver.Authorizers(apiserver.NamedAuthorizer{"node", nodes}, apiserver.NamedAuthorizer{"rbac", policy})
func Authorizers(list ...NamedAuthorizer) Authorizer { return union(list) }

type union []NamedAuthorizer

var (
	_ Policy     = union(nil)
	_ RuleLister = union(nil)
)

// Authorize joins the reasons of all when none allows.
func (u union) Authorize(ctx context.Context, a *Attributes) (bool, string, error) {
	var errs []error
	var reasons []string
	for _, one := range u {
		allowed, reason, err := one.Authorize(ctx, a)
		switch {
		case err != nil:
			errs = append(errs, err)
		case allowed:
			return true, reason, nil
		}
		if reason != "" {
			reasons = append(reasons, one.Name+": "+reason)
		}
	}
	return false, strings.Join(reasons, "\n"), utilerrors.NewAggregate(errs)
}

func (u union) Admit(ctx context.Context, r *AdmissionRequest) error {
	for _, one := range u {
		if p, ok := one.Authorizer.(Policy); ok {
			if err := p.Admit(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u union) Bootstrap(ctx context.Context, c client.Interface) error {
	for _, one := range u {
		if p, ok := one.Authorizer.(Policy); ok {
			if err := p.Bootstrap(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u union) RulesFor(ctx context.Context, user *Identity, namespace string) (authorizationv1.SubjectRulesReviewStatus, error) {
	var out authorizationv1.SubjectRulesReviewStatus
	var errs []error
	for _, one := range u {
		l, ok := one.Authorizer.(RuleLister)
		if !ok {
			out.Incomplete = true
			errs = append(errs, errors.New("the authorizer doesn't support user rule resolution"))
			continue
		}
		rules, err := l.RulesFor(ctx, user, namespace)
		out.ResourceRules = append(out.ResourceRules, rules.ResourceRules...)
		out.NonResourceRules = append(out.NonResourceRules, rules.NonResourceRules...)
		out.Incomplete = out.Incomplete || rules.Incomplete
		if err != nil {
			errs = append(errs, err)
		}
	}
	return out, utilerrors.NewAggregate(errs)
}
