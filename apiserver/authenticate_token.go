package apiserver

import (
	"context"
	"errors"
	"net/http"
	"slices"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/inboard/inboard/apiserver/client"
)

// TokenAuthenticator tells who bearer tokens of some sort are of.
type TokenAuthenticator interface {
	// AuthenticateToken returns nil for a token that is of another sort, and an error for one of its own
	// that is not valid.
	AuthenticateToken(ctx context.Context, c *TokenCheck) (*TokenIdentity, error)
}

// TokenCheck is a token that is to be checked.
type TokenCheck struct {
	Token string
	// Audiences are those that the token must be for one of; none asks for no audience.
	Audiences []string
	// Lookup returns an object as the server sees it, shared and read-only; ok is false when there is none
	// or its kind is not served.
	Lookup func(ref client.Ref) (obj client.Object, ok bool, err error)
}

// TokenIdentity is who a token is of.
type TokenIdentity struct {
	Identity
	// Audiences are those of TokenCheck.Audiences that the token is for; none, if its sort has no audiences and is
	// for the server alone.
	Audiences []string
}

var errInvalidToken = errors.New("invalid bearer token")

// authenticateToken asks who a token is of; nobody is nil. Without audiences the token must be for the server.
func (s *Server) authenticateToken(ctx context.Context, token string, audiences []string) (*TokenIdentity, error) {
	if len(audiences) == 0 {
		audiences = s.audiences()
	}
	if id, ok := s.cfg.Authentication.Tokens[token]; ok {
		return s.forServer(id, audiences), nil
	}
	c := &TokenCheck{Token: token, Audiences: audiences}
	c.Lookup = func(ref client.Ref) (client.Object, bool, error) { return s.lookupRef(ctx, ref) }
	var errs []error
	for _, a := range s.tokenAuthenticators() {
		id, err := a.AuthenticateToken(ctx, c)
		if err == nil && id != nil {
			if len(id.Audiences) == 0 {
				return s.forServer(id.Identity, audiences), nil
			}
			return id, nil
		}
		errs = append(errs, err)
	}
	return nil, utilerrors.NewAggregate(errs)
}

func (s *Server) tokenAuthenticators() []TokenAuthenticator {
	if s.cfg.Authentication.ServiceAccounts == nil {
		return s.cfg.Authentication.Authenticators
	}
	return append([]TokenAuthenticator{s.cfg.Authentication.ServiceAccounts}, s.cfg.Authentication.Authenticators...)
}

// audiences are those of the server.
func (s *Server) audiences() []string {
	if s.cfg.Authentication.ServiceAccounts == nil {
		return nil
	}
	return s.cfg.Authentication.ServiceAccounts.Audiences()
}

// forServer is the identity of a token without audiences, which is for the server alone.
func (s *Server) forServer(id Identity, audiences []string) *TokenIdentity {
	own := s.audiences()
	if len(own) == 0 && len(audiences) == 0 {
		return &TokenIdentity{Identity: id}
	}
	var both []string
	for _, a := range audiences {
		if slices.Contains(own, a) {
			both = append(both, a)
		}
	}
	if len(both) == 0 {
		return nil
	}
	return &TokenIdentity{Identity: id, Audiences: both}
}

// tokenIdentity tells who sent a request with a bearer token.
func (s *Server) tokenIdentity(r *http.Request, token string) (Identity, bool, error) {
	id, err := s.authenticateToken(r.Context(), token, nil)
	if err != nil || id == nil {
		return Identity{}, false, err
	}
	return id.Identity, true, nil
}
