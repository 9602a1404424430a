package apiserver_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/pki"
)

// TestRequestHeader sends what front proxies say about users, and others who would like to be believed.
func TestRequestHeader(t *testing.T) {
	users, proxies, strangers := ok(pki.New("users")), ok(pki.New("front-proxies")), ok(pki.New("strangers"))
	s := newServer(t, func(c *apiserver.Config) {
		c.Authentication.Tokens = map[string]apiserver.Identity{"secret": {User: "tom"}}
		c.Authentication.RequestHeader = &apiserver.RequestHeader{CA: proxies.CertificatePEM(), AllowedNames: []string{"front-proxy-client"}}
	})
	runServer(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	ln := ok(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln, users.ServerTLS(ok(users.Server("127.0.0.1")), proxies)) }()
	t.Cleanup(func() { cancel(); <-served })

	says := "X-Remote-User: ann|X-Remote-Group: a|X-Remote-Group: b|X-Remote-Uid: 7|X-Remote-Extra-Example.com%2fkey: v|X-Remote-Extra-Example.com%2fkey: w"
	for _, c := range []struct {
		what    string
		own     *pki.Pair
		headers string
		want    string
	}{
		{"a front proxy", ok(proxies.Client("front-proxy-client")), says, "ann 7 [a b system:authenticated] map[example.com/key:[v w]]"},
		{"a front proxy about nobody", ok(proxies.Client("front-proxy-client")), "", "401"},
		{"a front proxy with another name", ok(proxies.Client("other")), says, "401"},
		{"a name of theirs and a token", ok(proxies.Client("other")), "Authorization: Bearer secret|" + says, "tom  [system:authenticated] map[]"},
		{"a user", ok(users.Client("bob", "staff")), says, "bob  [staff system:authenticated] map[]"},
		{"a user called like a front proxy", ok(users.Client("front-proxy-client")), says, "front-proxy-client  [system:authenticated] map[]"},
		{"a token", nil, "Authorization: Bearer secret|" + says, "tom  [system:authenticated] map[]"},
		{"a stranger", ok(strangers.Client("front-proxy-client")), says, "403"}, // no authority that the server knows: the client does not even show it
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := whoAmI(t, ln.Addr().String(), users.ClientTLS(c.own), c.headers); got != c.want {
				t.Errorf("the sender is taken for %s, want %s", got, c.want)
			}
		})
	}
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// whoAmI asks the server who it thinks one is.
func whoAmI(t *testing.T, addr string, config *tls.Config, headers string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	body := `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	r := ok(http.NewRequest(http.MethodPost, "https://"+addr+"/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader(body)))
	r.Header.Set("Content-Type", "application/json")
	for _, h := range strings.Split(headers, "|") {
		if name, value, found := strings.Cut(h, ": "); found {
			r.Header.Add(name, value)
		}
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "no connection"
	}
	defer resp.Body.Close()
	text := ok(io.ReadAll(resp.Body))
	if resp.StatusCode != http.StatusCreated {
		return fmt.Sprint(resp.StatusCode)
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal(text, &review); err != nil {
		t.Fatal(err)
	}
	u := review.Status.UserInfo
	return fmt.Sprint(u.Username, " ", u.UID, " ", u.Groups, " ", u.Extra)
}
