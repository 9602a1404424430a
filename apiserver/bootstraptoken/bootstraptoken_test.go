package bootstraptoken_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/bootstraptoken"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "0123456789abcdef"

// TestTokens stores secrets and sends requests with tokens.
func TestTokens(t *testing.T) {
	s := apitest.Open(t, func(c *apiserver.Config) {
		c.Authentication.Authenticators = []apiserver.TokenAuthenticator{bootstraptoken.Authenticator{}}
	})
	secrets := client.For[*corev1.Secret](s.Admin())
	in := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	for id, tc := range map[string]struct {
		change func(*corev1.Secret)
		token  string
		want   []string // the groups, nil for nobody
	}{
		"aaaaaa": {want: []string{"system:bootstrappers", "system:authenticated"}},
		"bbbbbb": {change: func(s *corev1.Secret) {
			s.Data["auth-extra-groups"] = []byte("system:bootstrappers:b,system:bootstrappers:a")
		},
			want: []string{"system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:b", "system:authenticated"}},
		"cccccc": {change: func(s *corev1.Secret) { s.Data["auth-extra-groups"] = []byte("system:masters") }},
		"dddddd": {change: func(s *corev1.Secret) { s.Data["expiration"] = []byte(in(-time.Minute)) }},
		"eeeeee": {change: func(s *corev1.Secret) { s.Data["expiration"] = []byte(in(time.Hour)) },
			want: []string{"system:bootstrappers", "system:authenticated"}},
		"ffffff": {change: func(s *corev1.Secret) { s.Data["expiration"] = []byte("tomorrow") }},
		"gggggg": {change: func(s *corev1.Secret) { delete(s.Data, "usage-bootstrap-authentication") }},
		"hhhhhh": {change: func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		"iiiiii": {change: func(s *corev1.Secret) { s.Data["token-id"] = []byte("aaaaaa") }},
		"jjjjjj": {token: "jjjjjj." + strings.Repeat("x", 16)},
		"kkkkkk": {token: "kkkkkk.short"},
		"llllll": {token: "LLLLLL." + secret},
		"mmmmmm": {change: func(s *corev1.Secret) { s.Namespace = "default" }},
	} {
		sec := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + id}, Type: "bootstrap.kubernetes.io/token",
			Data: map[string][]byte{"token-id": []byte(id), "token-secret": []byte(secret), "usage-bootstrap-authentication": []byte("true")}}
		if tc.change != nil {
			tc.change(sec)
		}
		if _, err := secrets.Create(t.Context(), sec); err != nil {
			t.Fatal(err)
		}
		token := tc.token
		if token == "" {
			token = id + "." + secret
		}
		user, groups := whoami(t, s, token)
		if want := "system:bootstrap:" + id; tc.want != nil && user != want || tc.want == nil && user != "" || !slices.Equal(groups, tc.want) {
			t.Errorf("%s is %q in %v, want the groups %v", token, user, groups, tc.want)
		}
	}
}

func whoami(t *testing.T, s *apitest.Server, token string) (string, []string) {
	t.Helper()
	r := httptest.NewRequest("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.API.ServeHTTP(w, r)
	if w.Code == 401 {
		return "", nil
	}
	var out authenticationv1.SelfSubjectReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Status.UserInfo.Username, out.Status.UserInfo.Groups
}
