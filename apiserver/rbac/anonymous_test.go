package rbac_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAnonymous asks for paths over HTTP without credentials: Kubernetes lets such requests see health and version,
// and nothing below or beside them.
func TestAnonymous(t *testing.T) {
	s, _ := open(t)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/healthz", 200}, {"GET", "/livez", 200}, {"GET", "/readyz", 200}, {"GET", "/version", 200},
		{"GET", "/livez/ping", 403}, {"GET", "/readyz/ping", 403}, {"POST", "/version", 403},
		{"GET", "/", 403}, {"GET", "/api", 403}, {"GET", "/apis", 403}, {"GET", "/apis/apps/v1", 403}, {"GET", "/api/v1", 403},
		{"GET", "/openapi/v2", 403}, {"GET", "/openapi/v3", 403}, {"GET", "/metrics", 403}, {"GET", "/nothing", 403},
		{"GET", "/.well-known/openid-configuration", 403}, {"GET", "/openid/v1/jwks", 403},
		{"GET", "/api/v1/namespaces/default/pods", 403}, {"GET", "/api/v1/namespaces/kube-system/secrets", 403},
		{"GET", "/api/v1/namespaces/default", 403}, {"GET", "/apis/no.such.group/v1/things", 403},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 403}, {"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 403},
	} {
		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader("{}")))
		if w.Code != c.want {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, w.Code, c.want, w.Body)
		}
		if c.want == http.StatusForbidden && !strings.Contains(w.Body.String(), `User \"system:anonymous\" cannot`) {
			t.Errorf("%s %s: %s does not name the user", c.method, c.path, w.Body)
		}
	}
}
