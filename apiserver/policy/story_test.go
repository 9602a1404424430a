package policy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/store"
)

// open starts a server with policies and RBAC, to which the token "admin" is an administrator's.
func open(t testing.TB, change ...func(*apiserver.Config)) (http.Handler, *policy.Policies) {
	t.Helper()
	st, err := store.Open(store.Config{})
	must(t, err)
	policies, err := policy.New(policy.Config{Store: st})
	must(t, err)
	roles, err := rbac.New(rbac.Config{Store: st})
	must(t, err)
	cfg := apiserver.Config{
		Store: st, Kinds: policy.CheckSelectors(append(kinds.All(), policy.Kinds()...)), Admission: policies.Admission(), Authorizer: roles,
		Authentication: apiserver.AuthenticationConfig{Tokens: map[string]apiserver.Identity{"admin": {User: "admin", Groups: []string{apiserver.GroupMasters}}}},
	}
	for _, f := range change {
		f(&cfg)
	}
	server, err := apiserver.New(cfg)
	must(t, err)
	t.Cleanup(func() {
		must(t, policies.Close())
		must(t, roles.Close())
		must(t, st.Close())
	})
	return server.Handler(), policies
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStories runs the scripts in testdata/story, whose answers are kube-apiserver's: internal/compare/policy asks it the
// same. Commands:
//
//	METHOD PATH [as=USER[,GROUP]...] [show=FIELD...] + the body in YAML
//
// tell the answer's code, and what it says besides: its message, reason and causes, warnings, and fields of the object.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		h, _ := open(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r, err := newRequest(d)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return generated.ReplaceAllString(tell(d, w.Result()), "gen-*****")
		})
	})
}

// generated are names that the server makes.
var generated = regexp.MustCompile("gen-[a-z0-9]{5}")

func newRequest(d *datadriven.TestData) (*http.Request, error) {
	body, err := yaml.YAMLToJSON([]byte(d.Input))
	if err != nil {
		return nil, err
	}
	if d.Input == "" {
		body = nil
	}
	r := httptest.NewRequest(strings.ToUpper(d.Cmd), d.CmdArgs[0].Key, strings.NewReader(string(body)))
	r.Header.Set("Authorization", "Bearer admin")
	r.Header.Set("Content-Type", "application/json")
	if d.Cmd == "patch" {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	for _, a := range d.CmdArgs {
		if a.Key == "as" {
			r.Header.Set("Impersonate-User", a.Vals[0])
			r.Header["Impersonate-Group"] = a.Vals[1:]
		}
	}
	return r, nil
}

// tell writes an answer down.
func tell(d *datadriven.TestData, res *http.Response) string {
	var out strings.Builder
	fmt.Fprintln(&out, res.StatusCode)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	slices.Sort(res.Header["Warning"]) // Kubernetes has them in the order of a map.
	for _, w := range res.Header["Warning"] {
		fmt.Fprintln(&out, "warning:", w)
	}
	if res.StatusCode >= 400 {
		s := &metav1.Status{}
		if err := json.Unmarshal(body, s); err != nil {
			return fmt.Sprintf("%s%s: %v\n", &out, body, err)
		}
		fmt.Fprintf(&out, "%s: %s\n", s.Reason, s.Message)
		if s.Details != nil {
			for _, c := range s.Details.Causes {
				fmt.Fprintf(&out, "cause: %s %s: %s\n", c.Type, c.Field, c.Message)
			}
		}
		return out.String()
	}
	u := &unstructured.Unstructured{}
	_ = json.Unmarshal(body, &u.Object)
	for _, a := range d.CmdArgs {
		if a.Key != "show" {
			continue
		}
		for _, path := range a.Vals {
			v, _, _ := unstructured.NestedFieldNoCopy(u.Object, strings.Split(path, ".")...)
			text, _ := json.Marshal(v)
			fmt.Fprintf(&out, "%s: %s\n", path, text)
		}
	}
	return out.String()
}
