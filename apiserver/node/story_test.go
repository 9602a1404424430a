package node_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/node"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/apiserver/serviceaccount"
	"github.com/inboard/inboard/internal/apitest"
)

// open starts a server with the modes Node and RBAC, NodeRestriction, and tokens.
func open(t testing.TB) (*apitest.Server, *node.Authorizer) {
	t.Helper()
	var nodes *node.Authorizer
	s := apitest.Open(t, func(cfg *apiserver.Config) {
		policy := ok(rbac.New(rbac.Config{Store: cfg.Store}))
		nodes = ok(node.New(node.Config{Store: cfg.Store}))
		cfg.Authorizer = apiserver.Authorizers(
			apiserver.NamedAuthorizer{Name: "node", Authorizer: nodes}, apiserver.NamedAuthorizer{Name: "rbac", Authorizer: policy})
		cfg.Admission = []apiserver.AdmissionPlugin{node.Restriction()}
		cfg.Authentication.ServiceAccounts = ok(serviceaccount.New(serviceaccount.Config{Key: ok(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}))
	})
	return s, nodes
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestStories runs the scripts in testdata. Commands take as=NODE, the administrator by default, and as=(USER,GROUP...):
//
//	create, update, status       + YAML of objects
//	get RESOURCE NAME [ns=NAMESPACE]
//	list RESOURCE [ns=NAMESPACE] [fields=SELECTOR]
//	patch RESOURCE NAME [ns=NAMESPACE] [sub=SUBRESOURCE]  + a merge patch
//	delete, evict RESOURCE NAME [ns=NAMESPACE]
//	bind pods NAME ns=NAMESPACE node=NODE
//	token ACCOUNT [ns=NAMESPACE] [pod=NAME] [uid=UID] [audiences=(A...)]
//
// In YAML and UIDs, uid(RESOURCE/NAME) stands for an object's UID.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s, _ := open(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			tell := &teller{s, d}
			out, err := tell.run(context.Background())
			if err != nil {
				out = "error: " + err.Error() + "\n"
			}
			return tell.mask(out)
		})
	})
}

type teller struct {
	server *apitest.Server
	*datadriven.TestData
}

func (s *teller) args(name string) []string {
	for _, a := range s.CmdArgs {
		if a.Key == name {
			return a.Vals
		}
	}
	return nil
}

func (s *teller) arg(name string) string { return strings.Join(s.args(name), ",") }

func (s *teller) client() client.Interface {
	switch as := s.args("as"); len(as) {
	case 0:
		return s.server.Admin()
	case 1:
		return s.server.As(node.UserPrefix+as[0], node.Group, "system:authenticated")
	default:
		return s.server.As(as[0], as[1:]...)
	}
}

// ref names what a command is about: RESOURCE and NAME.
func (s *teller) ref() client.Ref {
	r := client.Ref{GroupVersionResource: resource(s.CmdArgs[0].Key), Namespace: s.arg("ns"), Subresource: s.arg("sub")}
	if len(s.CmdArgs) > 1 && len(s.CmdArgs[1].Vals) == 0 {
		r.Name = s.CmdArgs[1].Key
	}
	return r
}

func resource(plural string) schema.GroupVersionResource {
	for _, k := range kinds.All() {
		if k.Resource == plural {
			return k.ResourceRef()
		}
	}
	return schema.GroupVersionResource{Version: "v1", Resource: plural}
}

func refOf(u *unstructured.Unstructured) client.Ref {
	gvr, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	if u.GetKind() == "CSINode" {
		gvr.Resource = "csinodes"
	}
	return client.Ref{GroupVersionResource: gvr, Namespace: u.GetNamespace()}
}

// fill replaces uid(RESOURCE/NAME); objects are looked for in the namespace default.
func (s *teller) fill(text string) string {
	for {
		before, rest, found := strings.Cut(text, "uid(")
		if !found {
			return text
		}
		of, after, _ := strings.Cut(rest, ")")
		text = before + string(s.uid(of)) + after
	}
}

func (s *teller) uid(of string) types.UID {
	plural, name, _ := strings.Cut(of, "/")
	ref := client.Ref{GroupVersionResource: resource(plural), Name: name}
	if plural != "nodes" {
		ref.Namespace = "default"
	}
	return ok(meta.Accessor(ok(s.server.Admin().Get(context.Background(), ref, metav1.GetOptions{})))).GetUID()
}

// mask hides UIDs from what is told.
func (s *teller) mask(text string) string {
	for _, of := range []string{"nodes/n1", "nodes/n2", "pods/web", "pods/other"} {
		plural, name, _ := strings.Cut(of, "/")
		ref := client.Ref{GroupVersionResource: resource(plural), Name: name}
		if plural == "pods" {
			ref.Namespace = "default"
		}
		if obj, err := s.server.Admin().Get(context.Background(), ref, metav1.GetOptions{}); err == nil {
			text = strings.ReplaceAll(text, string(ok(meta.Accessor(obj)).GetUID()), "uid("+of+")")
		}
	}
	return text
}

func (s *teller) run(ctx context.Context) (string, error) {
	c := s.client()
	switch s.Cmd {
	case "create", "update", "status":
		return s.write(ctx, c)
	case "get":
		obj, err := c.Get(ctx, s.ref(), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return ok(meta.Accessor(obj)).GetName() + "\n", nil
	case "list":
		l, err := c.List(ctx, s.ref(), metav1.ListOptions{FieldSelector: s.arg("fields")})
		if err != nil {
			return "", err
		}
		var out strings.Builder
		for _, item := range l.Items {
			fmt.Fprintln(&out, ok(meta.Accessor(item)).GetName())
		}
		return out.String(), nil
	case "patch":
		_, err := c.Patch(ctx, s.ref(), types.MergePatchType, ok(yaml.YAMLToJSON([]byte(s.Input))), metav1.PatchOptions{})
		return "ok\n", err
	case "delete":
		now := int64(0)
		return "ok\n", c.Delete(ctx, s.ref(), metav1.DeleteOptions{GracePeriodSeconds: &now})
	case "evict":
		ref := s.ref()
		ref.Subresource = "eviction"
		_, err := c.Create(ctx, ref, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}, metav1.CreateOptions{})
		return "ok\n", err
	case "bind":
		ref := s.ref()
		ref.Subresource = "binding"
		_, err := c.Create(ctx, ref, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name},
			Target: corev1.ObjectReference{Kind: "Node", Name: s.arg("node")}}, metav1.CreateOptions{})
		return "ok\n", err
	case "token":
		return s.token(ctx, c)
	}
	return "", fmt.Errorf("there is no command %s", s.Cmd)
}

func (s *teller) write(ctx context.Context, c client.Interface) (string, error) {
	for doc := range strings.SplitSeq(s.fill(s.Input), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return "", err
		}
		ref := refOf(u)
		var err error
		if s.Cmd == "create" {
			_, err = c.Create(ctx, ref, u, metav1.CreateOptions{})
		} else {
			ref.Name = u.GetName()
			ref.Subresource = map[string]string{"status": "status"}[s.Cmd]
			_, err = c.Update(ctx, ref, u, metav1.UpdateOptions{})
		}
		if err != nil {
			return "", err
		}
	}
	return "ok\n", nil
}

func (s *teller) token(ctx context.Context, c client.Interface) (string, error) {
	tr := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: s.args("audiences")}}
	if name := s.arg("pod"); name != "" {
		tr.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: name, UID: types.UID(s.fill(s.arg("uid")))}
	}
	ref := client.Ref{GroupVersionResource: resource("serviceaccounts"), Namespace: s.arg("ns"), Name: s.CmdArgs[0].Key, Subresource: "token"}
	var obj runtime.Object
	obj, err := c.Create(ctx, ref, tr, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a token of %d parts\n", 1+strings.Count(obj.(*authenticationv1.TokenRequest).Status.Token, ".")), nil
}
