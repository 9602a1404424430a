package rbac_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/internal/apitest"
)

// open starts a server that decides by an RBAC authorizer over its own store.
func open(t testing.TB) (*apitest.Server, *rbac.Authorizer) {
	t.Helper()
	var policy *rbac.Authorizer
	s := apitest.Open(t, func(cfg *apiserver.Config) {
		var err error
		if policy, err = rbac.New(rbac.Config{Store: cfg.Store}); err != nil {
			t.Fatal(err)
		}
		cfg.Authorizer = policy
	})
	return s, policy
}

// TestStories runs the scripts in testdata. Commands take as=USER[,GROUP]..., the administrator by default:
//
//	create, update         + YAML of one object of rbac.authorization.k8s.io/v1
//	delete KIND NAME [ns=NAMESPACE]
//	can VERB RESOURCE[/SUBRESOURCE] [ns=NAMESPACE] [name=NAME] [group=GROUP]
//	can VERB url=PATH
//	rules [ns=NAMESPACE]
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s, policy := open(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := (&teller{s, policy, d}).run(context.Background())
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			return out
		})
	})
}

type teller struct {
	server *apitest.Server
	policy *rbac.Authorizer
	*datadriven.TestData
}

func (s *teller) arg(name string) string {
	for _, a := range s.CmdArgs {
		if a.Key == name {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

func (s *teller) user() apiserver.Identity {
	for _, a := range s.CmdArgs {
		if a.Key == "as" {
			return apiserver.Identity{User: a.Vals[0], Groups: a.Vals[1:]}
		}
	}
	return apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}
}

func (s *teller) run(ctx context.Context) (string, error) {
	c := s.server.API.Client(s.user())
	switch s.Cmd {
	case "create", "update":
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(s.Input), &u.Object); err != nil {
			return "", err
		}
		u.SetAPIVersion(rbacv1.SchemeGroupVersion.String())
		ref := refOf(u.GetKind(), u.GetNamespace(), "")
		if s.Cmd == "create" {
			_, err := c.Create(ctx, ref, u, metav1.CreateOptions{})
			return "ok\n", err
		}
		ref.Name = u.GetName()
		_, err := c.Update(ctx, ref, u, metav1.UpdateOptions{})
		return "ok\n", err
	case "delete":
		return "ok\n", c.Delete(ctx, refOf(s.CmdArgs[0].Key, s.arg("ns"), s.CmdArgs[1].Key), metav1.DeleteOptions{})
	case "can":
		return s.can(ctx)
	case "rules":
		id := s.user()
		rules, err := s.policy.RulesFor(ctx, &id, s.arg("ns"))
		return show(rules), err
	}
	return "", fmt.Errorf("there is no command %s", s.Cmd)
}

func refOf(kind, namespace, name string) client.Ref {
	gvr := rbacv1.SchemeGroupVersion.WithResource(strings.ToLower(kind) + "s")
	return client.Ref{GroupVersionResource: gvr, Namespace: namespace, Name: name}
}

func (s *teller) can(ctx context.Context) (string, error) {
	id := s.user()
	a := &apiserver.Attributes{User: &id, Verb: s.CmdArgs[0].Key, Namespace: s.arg("ns"), Name: s.arg("name"), APIGroup: s.arg("group"), Path: s.arg("url")}
	if a.Path == "" {
		gr := schema.ParseGroupResource(s.CmdArgs[1].Key)
		a.Resource, a.Subresource, _ = strings.Cut(gr.Resource, "/")
	}
	allowed, reason, err := s.policy.Authorize(ctx, a)
	word := map[bool]string{true: "yes", false: "no"}[allowed]
	if reason != "" {
		word += ": " + reason
	}
	return word + "\n", err
}

func show(rules authorizationv1.SubjectRulesReviewStatus) string {
	var b strings.Builder
	for _, r := range rules.ResourceRules {
		fmt.Fprintf(&b, "%q %q %q %q\n", r.Verbs, r.APIGroups, r.Resources, r.ResourceNames)
	}
	for _, r := range rules.NonResourceRules {
		fmt.Fprintf(&b, "%q %q\n", r.Verbs, r.NonResourceURLs)
	}
	return b.String()
}
