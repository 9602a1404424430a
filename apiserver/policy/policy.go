// Package policy has admission policies written in CEL, as kube-apiserver's plugins ValidatingAdmissionPolicy and
// MutatingAdmissionPolicy have them
// (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ and
// https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/), with their kinds:
//
//	policies, err := policy.New(policy.Config{Store: st})
//	server, err := apiserver.New(apiserver.Config{
//		Store: st, Kinds: append(kinds.All(), policy.Kinds()...), Admission: policies.Admission(),
//	})
//
// Policies and bindings are read where the API server stores them: each counts from the moment in which it is stored.
package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/internal/follow"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Config describes a Policies.
type Config struct {
	// Store is the API server's; it has no default.
	Store apiserver.Store
	// Logger receives what policies want to be in the audit log, as there is none; nil discards.
	Logger *slog.Logger
}

// Policies are the admission policies in a store. Make it with New. It is safe for concurrent use.
type Policies struct {
	follower *follow.Follower
	view     *view
	logger   *slog.Logger
}

// New returns the policies in a store. It holds cursors over the store's history, but no goroutine, until Close or the
// end of the store.
func New(cfg Config) (*Policies, error) {
	if cfg.Store == nil {
		return nil, errors.New("policy: Config.Store is missing")
	}
	p := &Policies{view: &view{}, logger: cfg.Logger}
	if p.logger == nil {
		p.logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	var sources []follow.Source
	for _, k := range Kinds() {
		s, err := apiserver.StoredAs(k)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		sources = append(sources, follow.Source{Prefix: s.Prefix(), Object: s.Object})
	}
	p.follower = follow.New(cfg.Store, p.view, sources...)
	return p, nil
}

// Close gives up the cursors. Requests that are asked about afterwards fail.
func (p *Policies) Close() error {
	p.follower.Close()
	return nil
}

// Admission returns the plugins that go into apiserver.Config: the two kinds of policies, and what new policies and
// bindings need besides being right in themselves.
func (p *Policies) Admission() []apiserver.AdmissionPlugin {
	return []apiserver.AdmissionPlugin{
		{Name: "MutatingAdmissionPolicy", Admit: p.mutate},
		{Name: "ValidatingAdmissionPolicy", Validate: p.validate},
		{Name: "AdmissionPolicyParams", Validate: p.mayRead},
	}
}

func (p *Policies) validators(ctx context.Context) (active []*policy[*validator], err error) {
	err = p.follower.Read(ctx, func() { active = p.view.validating.active })
	return active, err
}

func (p *Policies) mutators(ctx context.Context) (active []*policy[*mutator], err error) {
	err = p.follower.Read(ctx, func() { active = p.view.mutating.active })
	return active, err
}

// exempt tells that a request is for the configuration of admission itself, which must not be able to lock everybody
// out of mending it, or for a review. Webhooks are subject to policies.
func exempt(r *apiserver.AdmissionRequest) bool {
	if r.Ref.Group != admissionregistrationv1.GroupName {
		return registration.IsReview(r.Ref.Group, r.Ref.Resource)
	}
	switch r.Ref.Resource {
	case "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings":
		return true
	}
	return false
}

func (p *Policies) audit(v *verdict) {
	if len(v.audits) > 0 {
		p.logger.Info("admission policies noted", append([]any{"request", v.q.Ref.String()}, v.audits...)...)
	}
}
