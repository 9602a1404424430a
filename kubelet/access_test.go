package kubelet

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestServerLetsAPIServersIn(t *testing.T) {
	h := guarded((&Kubelet{}).Handler(), allowAPIServers)
	get := func(state *tls.ConnectionState) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.TLS = state
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		subject pkix.Name
		want    int
	}{
		{pkix.Name{CommonName: "kube-apiserver-kubelet-client"}, http.StatusOK},
		{pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, http.StatusOK},
		{pkix.Name{CommonName: "system:node:other", Organization: []string{"system:nodes"}}, http.StatusForbidden},
		{pkix.Name{CommonName: "bob"}, http.StatusForbidden},
		{pkix.Name{}, http.StatusForbidden},
	} {
		chain := []*x509.Certificate{{Subject: c.subject}}
		if got := get(&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}); got != c.want {
			t.Errorf("%v: %d, want %d", c.subject, got, c.want)
		}
	}
	if got := get(&tls.ConnectionState{}); got != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d", got)
	}
	if got := get(nil); got != http.StatusUnauthorized {
		t.Errorf("without TLS: %d", got)
	}
}
