package serviceaccount

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// claims are what a token says.
type claims struct {
	jwt.Claims
	Kubernetes bound `json:"kubernetes.io"`
}

// bound tells what a token is bound to.
type bound struct {
	Namespace string `json:"namespace,omitempty"`
	Node      *ref   `json:"node,omitempty"`
	Pod       *ref   `json:"pod,omitempty"`
	Secret    *ref   `json:"secret,omitempty"`
	Account   ref    `json:"serviceaccount,omitzero"`
}

type ref struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// AuthenticateToken returns whose token it is. Tokens of other issuers are none of its business.
func (t *Tokens) AuthenticateToken(_ context.Context, c *apiserver.TokenCheck) (*apiserver.TokenIdentity, error) {
	if !slices.Contains(t.issuers, issuerOf(c.Token)) {
		return nil, nil
	}
	cl, err := t.keys.Load().verify(c.Token)
	if err != nil || cl == nil {
		return nil, err
	}
	if !slices.Contains(t.issuers, cl.Issuer) {
		return nil, fmt.Errorf("token issuer %q is invalid", cl.Issuer)
	}
	wanted := c.Audiences
	if len(wanted) == 0 {
		wanted = t.cfg.Audiences
	}
	var audiences []string
	for _, a := range cl.Audience {
		if slices.Contains(wanted, a) {
			audiences = append(audiences, a)
		}
	}
	if len(audiences) == 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", []string(cl.Audience), wanted)
	}
	now := t.now()
	if err := inTime(cl, now); err != nil {
		return nil, err
	}
	if err := stillBound(cl, c.Lookup, now.Add(-jwt.DefaultLeeway)); err != nil {
		return nil, err
	}
	return &apiserver.TokenIdentity{Identity: identityOf(cl), Audiences: audiences}, nil
}

// issuerOf reads who a token says it is from; that is not verified, and empty for what is no token.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return ""
	}
	return c.Issuer
}

// verify returns what a token says if one of the keys has signed it; nil for what is no token. What was verified
// once is remembered by the token's hash: keys that vouch for it don't change.
func (ks *keySet) verify(token string) (*claims, error) {
	sum := sha256.Sum256([]byte(token))
	ks.mu.Lock()
	known := ks.verified[sum]
	ks.mu.Unlock()
	if known != nil {
		return known, nil
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, nil //nolint:nilerr // it is not for this authenticator
	}
	id := ""
	for _, h := range parsed.Headers {
		if id == "" {
			id = h.KeyID
		}
	}
	keys := ks.find(id)
	if len(keys) == 0 {
		return nil, errors.New("invalid signature, no keys found")
	}
	var errs []error
	for i := range keys {
		c := &claims{}
		if err := parsed.Claims(keys[i].Key, c); err != nil {
			errs = append(errs, err)
			continue
		}
		ks.remember(sum, c)
		return c, nil
	}
	return nil, utilerrors.NewAggregate(errs)
}

func (ks *keySet) remember(sum [sha256.Size]byte, c *claims) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if len(ks.verified) >= maxVerified {
		for old := range ks.verified {
			delete(ks.verified, old)
			break
		}
	}
	ks.verified[sum] = c
}

// inTime checks when a token is good, with a minute's leeway for clocks.
func inTime(c *claims, now time.Time) error {
	switch err := c.Validate(jwt.Expected{Time: now}); {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrExpired):
		return errors.New("service account token has expired")
	case errors.Is(err, jwt.ErrNotValidYet):
		return errors.New("service account token is not valid yet")
	case errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errors.New("service account token is issued in the future")
	default:
		return fmt.Errorf("service account token claims could not be validated: %w", err)
	}
}

// stillBound checks that the account is there, and what else the token is bound to: the very same objects, and not
// deleted before the given time.
func stillBound(c *claims, look lookup, before time.Time) error {
	b := &c.Kubernetes
	account, err := find(look, "serviceaccounts", b.Namespace, b.Account.Name)
	switch {
	case err != nil:
		return err
	case string(account.GetUID()) != b.Account.UID:
		return fmt.Errorf("service account UID (%s) does not match claim (%s)", account.GetUID(), b.Account.UID)
	case deleted(account, before):
		return fmt.Errorf("service account %s/%s has been deleted", b.Namespace, b.Account.Name)
	}
	if err := stillThere(look, "secrets", "secret", b.Namespace, b.Secret, before); err != nil {
		return err
	}
	if b.Pod != nil {
		// Its node is told of and no condition.
		return stillThere(look, "pods", "pod", b.Namespace, b.Pod, before)
	}
	return stillThere(look, "nodes", "node", "", b.Node, before)
}

func stillThere(look lookup, resource, word, namespace string, r *ref, before time.Time) error {
	if r == nil {
		return nil
	}
	obj, err := find(look, resource, namespace, r.Name)
	if err != nil || deleted(obj, before) {
		return errors.New("service account token has been invalidated")
	}
	if string(obj.GetUID()) != r.UID {
		title := strings.ToUpper(word[:1]) + word[1:]
		return fmt.Errorf("%s UID (%s) does not match service account %s ref claim (%s)", title, obj.GetUID(), word, r.UID)
	}
	return nil
}

func deleted(obj client.Object, before time.Time) bool {
	at := obj.GetDeletionTimestamp()
	return at != nil && at.Time.Before(before)
}

func userOf(namespace, name string) string { return "system:serviceaccount:" + namespace + ":" + name }

// The keys of what an identity tells besides.
const (
	extraPodName    = "authentication.kubernetes.io/pod-name"
	extraPodUID     = "authentication.kubernetes.io/pod-uid"
	extraNodeName   = "authentication.kubernetes.io/node-name"
	extraNodeUID    = "authentication.kubernetes.io/node-uid"
	extraCredential = "authentication.kubernetes.io/credential-id"
)

func identityOf(c *claims) apiserver.Identity {
	b := &c.Kubernetes
	id := apiserver.Identity{
		User: userOf(b.Namespace, b.Account.Name), UID: b.Account.UID,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + b.Namespace},
		Extra:  map[string][]string{},
	}
	if b.Pod != nil {
		id.Extra[extraPodName], id.Extra[extraPodUID] = []string{b.Pod.Name}, []string{b.Pod.UID}
	}
	if b.Node != nil {
		id.Extra[extraNodeName] = []string{b.Node.Name}
		if b.Node.UID != "" {
			id.Extra[extraNodeUID] = []string{b.Node.UID}
		}
	}
	if c.ID != "" {
		id.Extra[extraCredential] = []string{"JTI=" + c.ID}
	}
	return id
}
