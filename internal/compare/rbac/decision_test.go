package rbac

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	upstreamrbac "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/store"
)

var (
	worlds   = flag.Int("worlds", 40, "random sets of roles and bindings")
	requests = flag.Int("requests", 500, "random requests in each")
	seed     = flag.Uint64("seed", 1, "seed of the random choices")
)

// world is a set of roles and bindings, on both sides.
type world struct {
	*rand.Rand
	client   client.Interface
	ours     *rbac.Authorizer
	theirs   *upstreamrbac.RBACAuthorizer
	resolver validation.AuthorizationRuleResolver

	roles           []*rbacv1.Role
	clusterRoles    []*rbacv1.ClusterRole
	bindings        []*rbacv1.RoleBinding
	clusterBindings []*rbacv1.ClusterRoleBinding
}

// The words that everything is made of: few, so that much is hit, and some that only look alike.
var (
	namespaces = []string{"a", "b", "a-b"}
	users      = []string{"ann", "bob", "system:serviceaccount:a:app", "system:serviceaccount:b:app", "system:serviceaccount:a-b:app", "app"}
	groups     = []string{"devs", "ops", "system:serviceaccounts:a", "ann"}
	roleNames  = []string{"r1", "r2", "r3", "gone"}
	verbs      = []string{"get", "list", "create", "delete", "*", "impersonate", "escalate", "bind"}
	apiGroups  = []string{"", "apps", "rbac.authorization.k8s.io", "*"}
	resources  = []string{"pods", "pods/log", "deployments", "deployments/scale", "*/scale", "*/log", "*", "*/", "log", "clusterroles"}
	names      = []string{"x", "y", "*", "r1"}
	urls       = []string{"/", "*", "/healthz", "/healthz/*", "/health*", "/api/*", "/api", "/*", "/apis**"}
	paths      = []string{"/", "/healthz", "/healthz/ping", "/healthzz", "/api", "/api/v1", "/apis", "/apisx", "*"}
)

func (w *world) pick(list []string) string { return list[w.IntN(len(list))] }

func (w *world) some(list []string, most int) []string {
	var out []string
	for range 1 + w.IntN(most) {
		out = append(out, w.pick(list))
	}
	return out
}

func (w *world) rules(urlsToo bool) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for range w.IntN(6) {
		r := rbacv1.PolicyRule{Verbs: w.some(verbs, 5)}
		if urlsToo && w.IntN(3) == 0 {
			r.NonResourceURLs = w.some(urls, 2)
		} else {
			r.APIGroups, r.Resources = w.some(apiGroups, 3), w.some(resources, 4)
			if w.IntN(3) == 0 {
				r.ResourceNames = w.some(names, 2)
			}
		}
		out = append(out, r)
	}
	return out
}

func (w *world) subjects(namespaced bool) []rbacv1.Subject {
	var out []rbacv1.Subject
	for range w.IntN(6) {
		switch w.IntN(3) {
		case 0:
			out = append(out, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: w.pick(users)})
		case 1:
			out = append(out, rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: w.pick(groups)})
		default:
			s := rbacv1.Subject{Kind: "ServiceAccount", Name: "app", Namespace: w.pick(namespaces)}
			if namespaced && w.IntN(2) == 0 {
				s.Namespace = ""
			}
			out = append(out, s)
		}
	}
	return out
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	st, err := store.Open(store.Config{})
	must(t, err)
	t.Cleanup(func() { _ = st.Close() })
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0))}
	w.ours, err = rbac.New(rbac.Config{Store: st})
	must(t, err)
	t.Cleanup(func() { _ = w.ours.Close() })
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Authorizer: w.ours})
	must(t, err)
	w.client = server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
	for _, ns := range namespaces {
		create(t, w.client, "namespaces", namespace(ns))
	}
	return w
}

// change replaces all roles and bindings by others, where ours has been asked before: it must notice.
func (w *world) change(t *testing.T) {
	ctx := context.Background()
	w.clear(ctx, t)
	for _, name := range roleNames[:3] {
		cr := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: w.rules(true)}
		create(t, w.client, "clusterroles", cr)
		w.clusterRoles = append(w.clusterRoles, cr)
		for _, ns := range namespaces[:2] {
			r := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Rules: w.rules(false)}
			create(t, w.client, "roles", r)
			w.roles = append(w.roles, r)
		}
	}
	ref := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: w.pick(roleNames)}
	}
	for i := range 3 {
		b := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("b", i)}, RoleRef: ref("ClusterRole"), Subjects: w.subjects(false)}
		create(t, w.client, "clusterrolebindings", b)
		w.clusterBindings = append(w.clusterBindings, b)
		for _, ns := range namespaces {
			b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("b", i), Namespace: ns},
				RoleRef: ref([]string{"Role", "ClusterRole"}[w.IntN(2)]), Subjects: w.subjects(true)}
			create(t, w.client, "rolebindings", b)
			w.bindings = append(w.bindings, b)
		}
	}
	lists := &lists{w}
	w.theirs = upstreamrbac.New(lists, lists, lists, lists)
	w.resolver = validation.NewDefaultRuleResolver(lists, lists, lists, lists)
}

func (w *world) clear(ctx context.Context, t *testing.T) {
	for _, o := range w.roles {
		must(t, client.For[*rbacv1.Role](w.client).Delete(ctx, o.Namespace, o.Name, metav1.DeleteOptions{}))
	}
	for _, o := range w.clusterRoles {
		must(t, client.For[*rbacv1.ClusterRole](w.client).Delete(ctx, "", o.Name, metav1.DeleteOptions{}))
	}
	for _, o := range w.bindings {
		must(t, client.For[*rbacv1.RoleBinding](w.client).Delete(ctx, o.Namespace, o.Name, metav1.DeleteOptions{}))
	}
	for _, o := range w.clusterBindings {
		must(t, client.For[*rbacv1.ClusterRoleBinding](w.client).Delete(ctx, "", o.Name, metav1.DeleteOptions{}))
	}
	w.roles, w.clusterRoles, w.bindings, w.clusterBindings = nil, nil, nil, nil
}

// identity is a random user on both sides.
func (w *world) identity() (*apiserver.Identity, user.Info) {
	id := &apiserver.Identity{User: w.pick(users), Groups: w.some(groups, 2)}
	return id, &user.DefaultInfo{Name: id.User, Groups: id.Groups}
}

// TestDecisions asks both sides the same questions, also for all the rules of a user.
func TestDecisions(t *testing.T) {
	ctx := context.Background()
	allowed, asked := 0, 0
	for i := range *worlds {
		w := newWorld(t, *seed+uint64(i))
		for range 2 {
			w.change(t)
			for range *requests {
				ours, theirs := w.attributes()
				got, reason, err := w.ours.Authorize(ctx, ours)
				want, wantReason, wantErr := w.theirs.Authorize(ctx, theirs)
				if err != nil || wantErr != nil {
					t.Fatalf("%+v: %v, %v", ours, err, wantErr)
				}
				asked++
				if got {
					allowed++
				}
				if got != (want == authorizer.DecisionAllow) {
					t.Fatalf("world %d: %+v by %+v: %v (%s), in Kubernetes %v (%s)", i, *ours, *ours.User, got, reason, want, wantReason)
				}
				if (reason == "") != (wantReason == "") {
					t.Errorf("world %d: %+v by %+v: the reason is %q, in Kubernetes %q", i, *ours, *ours.User, reason, wantReason)
				}
			}
			w.compareRules(ctx, t)
		}
	}
	t.Logf("%d requests, %d of them allowed", asked, allowed)
	if allowed < asked/20 || allowed > asked*19/20 {
		t.Errorf("%d of %d requests were allowed: the worlds are poor", allowed, asked)
	}
}

func (w *world) attributes() (*apiserver.Attributes, authorizer.AttributesRecord) {
	id, info := w.identity()
	ours := &apiserver.Attributes{User: id, Verb: w.pick(verbs)}
	theirs := authorizer.AttributesRecord{User: info, Verb: ours.Verb}
	if w.IntN(4) == 0 {
		ours.Path = w.pick(paths)
		theirs.Path = ours.Path
		return ours, theirs
	}
	ours.APIGroup, ours.Resource = w.pick(apiGroups), w.pick([]string{"pods", "deployments", "clusterroles", "log", "*"})
	if w.IntN(2) == 0 {
		ours.Subresource = w.pick([]string{"log", "scale", "x/log"})
	}
	if w.IntN(2) == 0 {
		ours.Name = w.pick(names)
	}
	if w.IntN(3) > 0 {
		ours.Namespace = w.pick(namespaces)
	}
	theirs.ResourceRequest, theirs.APIGroup, theirs.Resource = true, ours.APIGroup, ours.Resource
	theirs.Subresource, theirs.Name, theirs.Namespace = ours.Subresource, ours.Name, ours.Namespace
	return ours, theirs
}

// compareRules compares what a rules review lists; in which order does not matter.
func (w *world) compareRules(ctx context.Context, t *testing.T) {
	id, info := w.identity()
	ns := w.pick(namespaces)
	ours, err := w.ours.RulesFor(ctx, id, ns)
	resourceRules, urlRules, _, wantErr := w.theirs.RulesFor(ctx, info, ns)
	if (err == nil) != (wantErr == nil) {
		t.Errorf("rules of %+v: %v, in Kubernetes %v", id, err, wantErr)
	}
	count := map[string]int{}
	for _, r := range ours.ResourceRules {
		count[fmt.Sprintf("%q %q %q %q", r.Verbs, r.APIGroups, r.Resources, r.ResourceNames)]++
	}
	for _, r := range ours.NonResourceRules {
		count[fmt.Sprintf("%q %q", r.Verbs, r.NonResourceURLs)]++
	}
	for _, r := range resourceRules {
		count[fmt.Sprintf("%q %q %q %q", r.GetVerbs(), r.GetAPIGroups(), r.GetResources(), r.GetResourceNames())]--
	}
	for _, r := range urlRules {
		count[fmt.Sprintf("%q %q", r.GetVerbs(), r.GetNonResourceURLs())]--
	}
	for rule, n := range count {
		if n != 0 {
			t.Errorf("rules of %+v in %s: %s is listed %+d times more than in Kubernetes", id, ns, rule, n)
		}
	}
}

// TestEscalation has users create roles and compares who may and what the refusal says.
func TestEscalation(t *testing.T) {
	refused, made := 0, 0
	for i := range *worlds {
		w := newWorld(t, 1000+*seed+uint64(i))
		w.change(t)
		for range *requests / 5 {
			id, info := w.identity()
			ns, rules := w.pick(namespaces), w.rules(false)
			ctx := genericapirequest.WithUser(genericapirequest.WithNamespace(context.Background(), ns), info)
			want := w.wantRole(ctx, info, ns, rules)
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: ns}, Rules: rules}
			row := kindOf("Role")
			err := w.ours.Admit(ctx, &apiserver.AdmissionRequest{
				Operation: apiserver.Create, User: id, Kind: &row, Object: role,
				Ref: client.Ref{GroupVersionResource: row.ResourceRef(), Namespace: ns, Name: "new"},
			})
			if refusal(err) != refusal(want) {
				t.Fatalf("world %d: %+v creates %+v:\n%v\nin Kubernetes\n%v", i, id, rules, err, want)
			}
			if err == nil {
				made++
			} else {
				refused++
			}
		}
	}
	t.Logf("%d roles refused, %d allowed", refused, made)
	if refused == 0 || made == 0 {
		t.Error("the worlds are poor")
	}
}

// refusal is what an error says, without the order in which Kubernetes happens to come across missing roles.
func refusal(err error) string {
	text, _, incomplete := strings.Cut(fmt.Sprint(err), "; resolution errors: ")
	return fmt.Sprint(text, incomplete)
}

// wantRole is what Kubernetes' storage of roles does before it stores one.
func (w *world) wantRole(ctx context.Context, info user.Info, ns string, rules []rbacv1.PolicyRule) error {
	escalate := authorizer.AttributesRecord{User: info, Verb: "escalate", APIGroup: rbacv1.GroupName, Resource: "roles", Namespace: ns, ResourceRequest: true}
	if d, _, _ := w.theirs.Authorize(ctx, escalate); d == authorizer.DecisionAllow {
		return nil
	}
	if err := validation.ConfirmNoEscalation(ctx, w.resolver, rules); err != nil {
		return apierrors.NewForbidden(rbacv1.Resource("roles"), "new", err)
	}
	return nil
}
