package apiserver

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The identity of requests without credentials, and the groups that tell the two kinds apart.
const (
	anonymous            = "system:anonymous"
	groupUnauthenticated = "system:unauthenticated"
	groupAuthenticated   = "system:authenticated"
)

// authenticate tells who sends a request.
func (s *Server) authenticate(r *http.Request) (*Identity, error) {
	id, ok, err := s.credentials(r)
	switch {
	case err != nil:
		s.cfg.Logger.Debug("authentication failed", "error", err, "from", r.RemoteAddr)
		return nil, apierrors.NewUnauthorized("Unauthorized")
	case ok:
		id.Groups = authenticatedGroups(&id)
		return &id, nil
	case s.cfg.Authentication.NoAnonymous:
		return nil, apierrors.NewUnauthorized("Unauthorized")
	}
	return &Identity{User: anonymous, Groups: []string{groupUnauthenticated}}, nil
}

// authenticatedGroups returns the groups of who has proved to be somebody.
func authenticatedGroups(id *Identity) []string {
	if id.User == anonymous || slices.Contains(id.Groups, groupAuthenticated) || slices.Contains(id.Groups, groupUnauthenticated) {
		return id.Groups
	}
	return append(slices.Clone(id.Groups), groupAuthenticated)
}

// credentials looks for a front proxy's word, for a client certificate, then for a token, then asks the program.
func (s *Server) credentials(r *http.Request) (Identity, bool, error) {
	id, ok, refused := s.proxies.identity(r)
	if ok {
		return id, true, nil
	}
	if id, ok := s.certified(r); ok {
		return id, true, nil
	}
	id, ok, err := s.otherCredentials(r)
	if !ok && err == nil {
		err = refused
	}
	return id, ok, err
}

// certified tells whose client certificate a request came with.
func (s *Server) certified(r *http.Request) (Identity, bool) {
	if r.TLS == nil {
		return Identity{}, false
	}
	for _, chain := range r.TLS.VerifiedChains {
		if subject := chain[0].Subject; subject.CommonName != "" && !s.proxies.signed(chain) {
			return Identity{User: subject.CommonName, Groups: slices.Clone(subject.Organization)}, true
		}
	}
	return Identity{}, false
}

func (s *Server) otherCredentials(r *http.Request) (Identity, bool, error) {
	token, hasToken := bearerToken(r)
	invalid := errInvalidToken
	if hasToken {
		id, ok, err := s.tokenIdentity(r, token)
		if ok {
			return id, true, nil
		}
		invalid = cmp.Or(err, invalid)
	}
	if custom := s.cfg.Authentication.Custom; custom != nil {
		if id, ok, err := custom(r); ok || err != nil {
			return id, ok, err
		}
	}
	if hasToken {
		return Identity{}, false, invalid
	}
	return Identity{}, false, nil
}

func bearerToken(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "bearer") && token != ""
}
