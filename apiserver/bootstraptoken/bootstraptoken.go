// Package bootstraptoken tells who bootstrap tokens are of, by which nodes join a cluster
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/): tokens "ID.SECRET" that are kept in
// secrets "bootstrap-token-ID" of the namespace kube-system.
package bootstraptoken

import (
	"context"
	"crypto/subtle"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

const (
	secretType   = "bootstrap.kubernetes.io/token"
	userPrefix   = "system:bootstrap:"
	defaultGroup = "system:bootstrappers"
)

// Forms are compiled when they are first needed: together they take 200 KB.
var (
	tokenForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z0-9]{6})\.([a-z0-9]{16})$`) })
	groupForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\A` + defaultGroup + `:[a-z0-9:-]{0,255}[a-z0-9]\z`)
	})
)

// Authenticator finds tokens in secrets. The zero value is ready.
type Authenticator struct{}

var _ apiserver.TokenAuthenticator = Authenticator{}

// AuthenticateToken returns the user system:bootstrap:ID, in the group system:bootstrappers and those that the secret
// tells. A token that is not good is nobody's: no more is told of why.
func (Authenticator) AuthenticateToken(_ context.Context, c *apiserver.TokenCheck) (*apiserver.TokenIdentity, error) {
	parts := tokenForm().FindStringSubmatch(c.Token)
	if parts == nil {
		return nil, nil
	}
	obj, ok, err := c.Lookup(client.Ref{
		GroupVersionResource: corev1.SchemeGroupVersion.WithResource("secrets"), Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + parts[1]})
	if err != nil || !ok {
		return nil, err
	}
	secret, ok := obj.(*corev1.Secret)
	if !ok || !good(secret, parts[1], parts[2], time.Now()) {
		return nil, nil
	}
	groups, ok := groupsOf(secret)
	if !ok {
		return nil, nil
	}
	return &apiserver.TokenIdentity{Identity: apiserver.Identity{User: userPrefix + parts[1], Groups: groups}}, nil
}

func good(s *corev1.Secret, id, secret string, now time.Time) bool {
	if subtle.ConstantTimeCompare(s.Data["token-secret"], []byte(secret)) != 1 {
		return false
	}
	return s.Type == secretType && s.DeletionTimestamp == nil && string(s.Data["token-id"]) == id &&
		string(s.Data["usage-bootstrap-authentication"]) == "true" && !expired(string(s.Data["expiration"]), now)
}

// expired tells whether a time has come. One that can't be read has, to be on the safe side.
func expired(at string, now time.Time) bool {
	if at == "" {
		return false
	}
	t, err := time.Parse(time.RFC3339, at)
	return err != nil || !now.Before(t)
}

func groupsOf(s *corev1.Secret) ([]string, bool) {
	groups := []string{defaultGroup}
	extra := string(s.Data["auth-extra-groups"])
	if extra == "" {
		return groups, true
	}
	for _, g := range strings.Split(extra, ",") {
		if !groupForm().MatchString(g) {
			return nil, false
		}
		groups = append(groups, g)
	}
	slices.Sort(groups)
	return slices.Compact(groups), true
}
