package apiserver

import (
	"context"
	"maps"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
)

// ServiceAccountTokens issues and checks the tokens of service accounts; package serviceaccount has it.
type ServiceAccountTokens interface {
	TokenAuthenticator
	// Audiences are what tokens must be for, one of them, to be good for the server.
	Audiences() []string
	// Issue answers a TokenRequest, a POST to serviceaccounts/NAME/token.
	Issue(ctx context.Context, r *TokenIssue) (*authenticationv1.TokenRequest, error)
	// Paths are those that ServeHTTP serves, for OpenID discovery.
	Paths() []string
	http.Handler
}

// TokenIssue is a request for a token.
type TokenIssue struct {
	// Account is shared and read-only, as is Request.
	Account *corev1.ServiceAccount
	Request *authenticationv1.TokenRequest
	// Lookup returns an object as the server sees it, shared and read-only; ok is false when there is none.
	Lookup func(ref client.Ref) (obj client.Object, ok bool, err error)
	// Warn sends the client a warning.
	Warn func(text string)
}

// withTokens adds the subresource token to the row of service accounts. issue is called for each request.
func withTokens(kinds []Kind, issue func(context.Context, SubresourceRequest) (runtime.Object, error)) []Kind {
	kinds = slices.Clone(kinds)
	for i := range kinds {
		if kinds[i].ResourceRef() != serviceAccountsResource {
			continue
		}
		subs := maps.Clone(kinds[i].Subresources)
		if subs == nil {
			subs = map[string]Subresource{}
		}
		subs["token"] = Subresource{
			Kind:   authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"),
			New:    func() runtime.Object { return &authenticationv1.TokenRequest{} },
			Create: issue,
		}
		kinds[i].Subresources = subs
	}
	return kinds
}

// issueToken is a POST to serviceaccounts/NAME/token.
func (s *Server) issueToken(ctx context.Context, sr SubresourceRequest) (runtime.Object, error) {
	look := func(ref client.Ref) (client.Object, bool, error) { return s.lookupRef(ctx, ref) }
	obj, ok, err := look(client.Ref{GroupVersionResource: serviceAccountsResource, Namespace: sr.Ref.Namespace, Name: sr.Ref.Name})
	if err != nil {
		return nil, err
	}
	account, isAccount := obj.(*corev1.ServiceAccount)
	if !ok || !isAccount {
		return nil, apierrors.NewNotFound(serviceAccountsResource.GroupResource(), sr.Ref.Name)
	}
	body, ok := sr.Body.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, badRequest("the object provided is a %T, not a TokenRequest", sr.Body)
	}
	out, err := s.cfg.Authentication.ServiceAccounts.Issue(ctx, &TokenIssue{Account: account, Request: body, Lookup: look, Warn: sr.Warn})
	if err != nil {
		return nil, err
	}
	out.SetGroupVersionKind(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"))
	return out, nil
}

func (s *Server) servesOpenID(path string) bool {
	tokens := s.cfg.Authentication.ServiceAccounts
	return tokens != nil && slices.Contains(tokens.Paths(), path)
}
