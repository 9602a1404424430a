package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The headers by which a user asks to be treated as another, see
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation.
const (
	impersonateUser  = "Impersonate-User"
	impersonateGroup = "Impersonate-Group"
	impersonateUID   = "Impersonate-Uid"
	impersonateExtra = "Impersonate-Extra-"
)

// impersonate returns who a request is to be treated as, if its sender may ask for that.
func (s *Server) impersonate(r *http.Request, id *Identity) (*Identity, error) {
	as := &Identity{User: r.Header.Get(impersonateUser), UID: r.Header.Get(impersonateUID)}
	as.Groups = append(as.Groups, r.Header[impersonateGroup]...)
	for name, values := range r.Header {
		if key, ok := strings.CutPrefix(name, impersonateExtra); ok {
			if as.Extra == nil {
				as.Extra = map[string][]string{}
			}
			as.Extra[extraKey(key)] = values
		}
	}
	if as.User == "" {
		if len(as.Groups) > 0 || as.UID != "" || len(as.Extra) > 0 {
			return nil, badRequest("requested %v without impersonating a user", as.Groups)
		}
		return id, nil
	}
	if err := s.mayImpersonate(r.Context(), id, as); err != nil {
		return nil, err
	}
	as.Groups = impersonatedGroups(as)
	return as, nil
}

// impersonatedGroups adds the groups that who is impersonated has in any case.
func impersonatedGroups(as *Identity) []string {
	groups := as.Groups
	if namespace, _, ok := serviceAccountOf(as.User); ok && len(groups) == 0 {
		groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace}
	}
	switch {
	case slices.Contains(groups, groupUnauthenticated):
		return groups
	case as.User == anonymous:
		return append(groups, groupUnauthenticated)
	case slices.Contains(groups, groupAuthenticated):
		return groups
	}
	return append(groups, groupAuthenticated)
}

// serviceAccountOf takes the user name of a service account apart.
func serviceAccountOf(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && len(validation.ValidateNamespaceName(namespace, false)) == 0 &&
		len(validation.ValidateServiceAccountName(name, false)) == 0
}

// extraKey undoes the percent-encoding of keys in header names.
func extraKey(name string) string {
	name = strings.ToLower(name)
	if key, err := url.PathUnescape(name); err == nil {
		return key
	}
	return name
}

func (s *Server) mayImpersonate(ctx context.Context, id, as *Identity) error {
	checks := []Attributes{{Resource: "users", Name: as.User}}
	if namespace, name, ok := serviceAccountOf(as.User); ok {
		checks[0] = Attributes{Resource: "serviceaccounts", Namespace: namespace, Name: name}
	}
	for _, g := range as.Groups {
		checks = append(checks, Attributes{Resource: "groups", Name: g})
	}
	const authentication = "authentication.k8s.io"
	if as.UID != "" {
		checks = append(checks, Attributes{APIGroup: authentication, APIVersion: "v1", Resource: "uids", Name: as.UID})
	}
	for key, values := range as.Extra {
		for _, v := range values {
			checks = append(checks, Attributes{APIGroup: authentication, APIVersion: "v1", Resource: "userextras", Subresource: key, Name: v})
		}
	}
	for i := range checks {
		a := &checks[i]
		a.User, a.Verb = id, "impersonate"
		allowed, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
		if err == nil && allowed {
			continue
		}
		return apierrors.NewForbidden(schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}, a.Name, errors.New(refusal(a, reason)))
	}
	return nil
}
