package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/internal/compare/kube"
	"github.com/inboard/inboard/store"
)

// server is one of the two API servers.
type server struct {
	url   string
	token string
	http  *http.Client
	// settle waits until policies that were written are in force.
	settle func(t testing.TB)
	n      int
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// own starts this project's server.
func own(t testing.TB) *server {
	st, err := store.Open(store.Config{})
	must(t, err)
	policies, err := policy.New(policy.Config{Store: st})
	must(t, err)
	roles, err := rbac.New(rbac.Config{Store: st})
	must(t, err)
	s, err := apiserver.New(apiserver.Config{
		Store: st, Kinds: policy.CheckSelectors(append(kinds.All(), policy.Kinds()...)), Admission: policies.Admission(), Authorizer: roles,
		Authentication: apiserver.AuthenticationConfig{Tokens: map[string]apiserver.Identity{"admin": {User: "admin", UID: "admin", Groups: []string{apiserver.GroupMasters}}}},
	})
	must(t, err)
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		must(t, policies.Close())
		must(t, roles.Close())
		must(t, st.Close())
	})
	return &server{url: h.URL, token: "admin", http: h.Client(), settle: func(testing.TB) {}}
}

// kubernetes starts kube-apiserver.
func kubernetes(t testing.TB) *server {
	cfg := kube.Start(t)
	hc, err := rest.HTTPClientFor(cfg)
	must(t, err)
	s := &server{url: cfg.Host, token: cfg.BearerToken, http: hc}
	s.settle = s.sentinel
	return s
}

// answer is what a server said.
type answer struct {
	code     int
	warnings []string
	status   *metav1.Status
	object   map[string]any
}

func (s *server) do(t testing.TB, method, path string, header http.Header, body []byte) answer {
	t.Helper()
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	must(t, err)
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.http.Do(req)
	must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(t, err)
	a := answer{code: res.StatusCode, warnings: slices.Clone(res.Header["Warning"])}
	slices.Sort(a.warnings)
	if a.code >= 400 {
		a.status = &metav1.Status{}
		must(t, json.Unmarshal(data, a.status))
		return a
	}
	must(t, json.Unmarshal(data, &a.object))
	return a
}

func (s *server) post(t testing.TB, path string, obj any) answer {
	t.Helper()
	body, err := json.Marshal(obj)
	must(t, err)
	return s.do(t, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, body)
}

// generated are names that servers make.
var generated = regexp.MustCompile("gen-[a-z0-9]{5}")

// tell writes an answer down; shows are fields of the object to tell.
func (a answer) tell(shows []string) string {
	var out strings.Builder
	fmt.Fprintln(&out, a.code)
	for _, w := range a.warnings {
		fmt.Fprintln(&out, "warning:", w)
	}
	if a.status != nil {
		fmt.Fprintf(&out, "%s: %s\n", a.status.Reason, a.status.Message)
		if a.status.Details != nil {
			for _, c := range a.status.Details.Causes {
				fmt.Fprintf(&out, "cause: %s %s: %s\n", c.Type, c.Field, c.Message)
			}
		}
		return generated.ReplaceAllString(out.String(), "gen-*****")
	}
	for _, path := range shows {
		var v any = a.object
		for name := range strings.SplitSeq(path, ".") {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		text, _ := json.Marshal(v)
		fmt.Fprintf(&out, "%s: %s\n", path, text)
	}
	return generated.ReplaceAllString(out.String(), "gen-*****")
}

// patience bounds the wait for policies to be in force.
const patience = time.Minute

const group = "/apis/admissionregistration.k8s.io/v1/"

// sentinel makes a policy of each kind and waits until both have an effect: kube-apiserver takes what was written before
// into account with them, or earlier.
func (s *server) sentinel(t testing.TB) {
	t.Helper()
	s.n++
	name := fmt.Sprintf("sentinel-%d", s.n)
	meta := map[string]any{"name": name}
	match := map[string]any{"resourceRules": []any{map[string]any{
		"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"configmaps"}, "resourceNames": []any{name}}}}
	for path, spec := range map[string]map[string]any{
		"validatingadmissionpolicies":       {"matchConstraints": match, "validations": []any{map[string]any{"expression": "!has(object.data)"}}},
		"validatingadmissionpolicybindings": {"policyName": name, "validationActions": []any{"Warn"}},
		"mutatingadmissionpolicies": {"matchConstraints": match, "reinvocationPolicy": "Never", "mutations": []any{map[string]any{
			"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{"expression": `Object{data: {"a": "b"}}`}}}},
		"mutatingadmissionpolicybindings": {"policyName": name},
	} {
		if a := s.post(t, group+path, map[string]any{"metadata": meta, "spec": spec}); a.code != http.StatusCreated {
			t.Fatal(a.tell(nil))
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		a := s.post(t, "/api/v1/namespaces/default/configmaps?dryRun=All", map[string]any{"metadata": meta})
		if slices.ContainsFunc(a.warnings, func(w string) bool { return strings.Contains(w, "'"+name+"'") }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("policies are not in force after %v: %s", patience, a.tell(nil))
		}
	}
}
