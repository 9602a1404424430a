package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/bootstraptoken"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/node"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/apiserver/serviceaccount"
)

// authorize sets how the API server decides who may do what, and which tokens it knows.
func (c *cluster) authorize(cfg *apiserver.Config) error {
	nodes, err := node.New(node.Config{Store: cfg.Store})
	if err != nil {
		return err
	}
	others := apiserver.NamedAuthorizer{Name: byComponents, Authorizer: apiserver.DefaultAuthorizer(node.Group)}
	if c.authorization == byRBAC {
		policy, err := rbac.New(rbac.Config{Store: cfg.Store, Policy: ownPolicy(), Retired: retiredPolicy()})
		if err != nil {
			return err
		}
		others = apiserver.NamedAuthorizer{Name: byRBAC, Authorizer: policy}
	}
	cfg.Authorizer = apiserver.Authorizers(apiserver.NamedAuthorizer{Name: "node", Authorizer: nodes}, others)
	cfg.Admission = append(cfg.Admission, node.Restriction())
	if c.authorization != byRBAC {
		return nil
	}
	return c.tokens(cfg)
}

// tokens has the API server make and know tokens of service accounts, and know those by which nodes join.
func (c *cluster) tokens(cfg *apiserver.Config) error {
	key, err := c.tokenKey()
	if err != nil {
		return err
	}
	accounts, err := serviceaccount.New(serviceaccount.Config{Key: key})
	if err != nil {
		return err
	}
	cfg.Authentication.ServiceAccounts = accounts
	cfg.Authentication.Authenticators = []apiserver.TokenAuthenticator{bootstraptoken.Authenticator{}}
	return nil
}

// ownPolicy is what the components here need besides Kubernetes' default policy: the scheduler for pod groups, which
// Kubernetes has behind a feature gate, and controllers where they do something in another way than Kubernetes' own.
func ownPolicy() []client.Object {
	scheduler := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:kube-scheduler"}
	var objects []client.Object
	for _, own := range []struct {
		to    rbacv1.Subject
		rules []rbacv1.PolicyRule
	}{
		{scheduler, []rbacv1.PolicyRule{
			ruleOf("scheduling.k8s.io", "podgroups", "get", "list", "watch"),
			ruleOf("scheduling.k8s.io", "podgroups/status", "patch", "update"),
		}},
		{controllerAccount("deployment-controller"), []rbacv1.PolicyRule{ruleOf("apps", "deployments", "patch")}},
		{controllerAccount("resourcequota-controller"), []rbacv1.PolicyRule{ruleOf("", "resourcequotas", "get")}},
	} {
		name := "inboard:" + strings.TrimPrefix(own.to.Name, "system:")
		objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: own.rules}, bindingOf(name, name, own.to))
	}
	return objects
}

// retiredPolicy is what ownPolicy had before there was a node authorizer: durable clusters from then have it still, and
// by it any kubelet reads every Secret.
func retiredPolicy() []*rbacv1.ClusterRoleBinding {
	nodes := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: node.Group}
	return []*rbacv1.ClusterRoleBinding{bindingOf("inboard:nodes", "system:node", nodes)}
}

func ruleOf(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: []string{resource}}
}

func controllerAccount(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceSystem, Name: name}
}

func bindingOf(name, role string, to rbacv1.Subject) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{to},
	}
}

// tokenKey returns the key that signs the tokens of service accounts; with -dir it is kept.
func (c *cluster) tokenKey() (*ecdsa.PrivateKey, error) {
	if c.dir == "" {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	path := filepath.Join(c.home, "pki", "sa.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newTokenKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s has no key in PEM; remove it to make a new one", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to make a new one", path, err)
	}
	return key, nil
}

func newTokenKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return key, pki.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
