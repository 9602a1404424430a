package serviceaccount_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/serviceaccount"
	"github.com/inboard/inboard/internal/apitest"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return ok(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// cluster is a server that issues tokens, by a clock of its own.
type cluster struct {
	*apitest.Server
	tokens *serviceaccount.Tokens
	late   time.Duration
}

func open(t testing.TB, change ...func(*serviceaccount.Config)) *cluster {
	t.Helper()
	cfg := serviceaccount.Config{Key: newKey(t)}
	for _, f := range change {
		f(&cfg)
	}
	c := &cluster{tokens: ok(serviceaccount.New(cfg))}
	c.tokens.SetClock(func() time.Time { return time.Now().Add(c.late) })
	c.Server = apitest.Open(t, func(cfg *apiserver.Config) { cfg.Authentication.ServiceAccounts = c.tokens })
	ok(client.For[*corev1.ServiceAccount](c.Admin()).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app"}}))
	return c
}

// request asks for a token of the account "app".
func (c *cluster) request(t testing.TB, spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, error) {
	ref := client.For[*corev1.ServiceAccount](c.Admin()).Ref("default", "app")
	ref.Subresource = "token"
	out, err := c.Admin().Create(t.Context(), ref, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return out.(*authenticationv1.TokenRequest), nil
}

func (c *cluster) token(t testing.TB, spec authenticationv1.TokenRequestSpec) string {
	t.Helper()
	return ok(c.request(t, spec)).Status.Token
}

// whoami asks who the server takes the sender of a token for: the user, or what is wrong.
func (c *cluster) review(t testing.TB, token string, audiences ...string) authenticationv1.TokenReviewStatus {
	t.Helper()
	r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
	return ok(client.For[*authenticationv1.TokenReview](c.Admin()).Create(t.Context(), r)).Status
}

func (c *cluster) expect(t testing.TB, token, want string, audiences ...string) {
	t.Helper()
	if s := c.review(t, token, audiences...); want == "" && !s.Authenticated || want != "" && (s.Authenticated || !strings.Contains(s.Error, want)) {
		t.Errorf("the token is good: %v, %q; want %q", s.Authenticated, s.Error, want)
	}
}

func boundTo(kind, name string) authenticationv1.TokenRequestSpec {
	return authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}}
}

// TestToken: a token over HTTP is its account, with what Kubernetes tells of it.
func TestToken(t *testing.T) {
	c := open(t)
	r := ok(c.request(t, authenticationv1.TokenRequestSpec{}))
	if *r.Spec.ExpirationSeconds != 3600 || !slices.Equal(r.Spec.Audiences, []string{serviceaccount.DefaultIssuer}) || r.Name != "app" || r.UID == "" {
		t.Errorf("the answer is %+v", r)
	}
	if left := time.Until(r.Status.ExpirationTimestamp.Time); left < 59*time.Minute || left > time.Hour {
		t.Errorf("it ends in %s", left)
	}
	who := c.whoami(t, r.Status.Token)
	id := who.Extra["authentication.kubernetes.io/credential-id"]
	if len(id) != 1 || !strings.HasPrefix(id[0], "JTI=") {
		t.Errorf("the credential's ID is %v", id)
	}
	want := []string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}
	if who.Username != "system:serviceaccount:default:app" || who.UID != string(r.UID) || !slices.Equal(who.Groups, want) {
		t.Errorf("%+v", who)
	}
}

func (c *cluster) whoami(t *testing.T, token string) authenticationv1.UserInfo {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader("{}"))
	req.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	c.API.ServeHTTP(w, req)
	var out authenticationv1.SelfSubjectReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return out.Status.UserInfo
}

func TestTime(t *testing.T) {
	c := open(t)
	token := c.token(t, authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](600)})
	for _, tc := range []struct {
		late time.Duration
		want string
	}{
		{0, ""}, {10*time.Minute + 30*time.Second, ""}, {12 * time.Minute, "has expired"}, {-30 * time.Second, ""}, {-2 * time.Minute, "not valid yet"},
	} {
		c.late = tc.late
		c.expect(t, token, tc.want)
	}
}

func TestAudiences(t *testing.T) {
	c := open(t, func(cfg *serviceaccount.Config) { cfg.Audiences = []string{"api", "kubernetes"} })
	vault := c.token(t, authenticationv1.TokenRequestSpec{Audiences: []string{"vault", "api2"}})
	c.expect(t, vault, `token audiences ["vault" "api2"] is invalid for the target audiences ["api" "kubernetes"]`)
	if s := c.review(t, vault, "other", "vault"); !s.Authenticated || !slices.Equal(s.Audiences, []string{"vault"}) {
		t.Errorf("%+v", s)
	}
	own := c.token(t, authenticationv1.TokenRequestSpec{})
	if s := c.review(t, own); !s.Authenticated || !slices.Equal(s.Audiences, []string{"api", "kubernetes"}) {
		t.Errorf("%+v", s)
	}
	c.expect(t, own, "is invalid for the target audiences", "vault")
}

func TestBoundObjects(t *testing.T) {
	c := open(t)
	ctx := t.Context()
	pods, nodes, secrets := client.For[*corev1.Pod](c.Admin()), client.For[*corev1.Node](c.Admin()), client.For[*corev1.Secret](c.Admin())
	node := ok(nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}))
	newPod := func(name, account string) *corev1.Pod {
		return ok(pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: corev1.PodSpec{ServiceAccountName: account, NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}))
	}
	pod := newPod("p", "app")
	newPod("other", "default")
	ok(secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}}))

	for _, tc := range []struct {
		spec authenticationv1.TokenRequestSpec
		want string
	}{
		{boundTo("Pod", "other"), `cannot bind token for serviceaccount "app" to pod running with different serviceaccount name.`},
		{boundTo("Pod", "gone"), `pods "gone" not found`},
		{boundTo("Node", "gone"), `nodes "gone" not found`},
		{boundTo("ConfigMap", "x"), "cannot bind token to object of type /v1, Kind=ConfigMap"},
		{authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "old"}},
			"the UID in the bound object reference (old) does not match the UID in record"},
		{authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](599)}, "may not specify a duration less than 10 minutes"},
		{authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](1<<32 + 1)}, "may not specify a duration larger than 2^32 seconds"},
	} {
		if _, err := c.request(t, tc.spec); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %s", tc.spec, err, tc.want)
		}
	}
	ofPod, ofNode, ofSecret, plain := c.token(t, boundTo("Pod", "p")), c.token(t, boundTo("Node", "n1")), c.token(t, boundTo("Secret", "s")), c.token(t, authenticationv1.TokenRequestSpec{})
	extra := c.whoami(t, ofPod).Extra
	delete(extra, "authentication.kubernetes.io/credential-id")
	if want := map[string]authenticationv1.ExtraValue{
		"authentication.kubernetes.io/pod-name": {"p"}, "authentication.kubernetes.io/pod-uid": {string(pod.UID)},
		"authentication.kubernetes.io/node-name": {"n1"}, "authentication.kubernetes.io/node-uid": {string(node.UID)},
	}; !reflect.DeepEqual(extra, want) {
		t.Errorf("%v", extra)
	}
	remove := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []string{ofPod, ofNode, ofSecret, plain} {
		c.expect(t, token, "")
	}
	// A node's end is not that of its pods' tokens.
	remove(nodes.Delete(ctx, "", "n1", metav1.DeleteOptions{}))
	c.expect(t, ofNode, "service account token has been invalidated")
	c.expect(t, ofPod, "")
	ok(nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}))
	c.expect(t, ofNode, "Node UID")
	remove(secrets.Delete(ctx, "default", "s", metav1.DeleteOptions{}))
	c.expect(t, ofSecret, "service account token has been invalidated")
	// While a pod ends it may still talk, a minute longer than its grace period.
	remove(pods.Delete(ctx, "default", "p", metav1.DeleteOptions{}))
	c.expect(t, ofPod, "")
	c.late = 5 * time.Minute
	c.expect(t, ofPod, "service account token has been invalidated")
	c.late = 0
	remove(pods.Delete(ctx, "default", "p", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}))
	c.expect(t, ofPod, "service account token has been invalidated")
	accounts := client.For[*corev1.ServiceAccount](c.Admin())
	remove(accounts.Delete(ctx, "default", "app", metav1.DeleteOptions{}))
	c.expect(t, plain, `serviceaccounts "app" not found`)
	ok(accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app"}}))
	c.expect(t, plain, "service account UID")
}

func TestRotation(t *testing.T) {
	first, second := newKey(t), ok(rsa.GenerateKey(rand.Reader, 2048))
	c := open(t, func(cfg *serviceaccount.Config) { cfg.Key = first })
	old := c.token(t, authenticationv1.TokenRequestSpec{})
	if err := c.tokens.Rotate(second); err != nil {
		t.Fatal(err)
	}
	c.expect(t, old, "")
	renewed := c.token(t, authenticationv1.TokenRequestSpec{})
	c.expect(t, renewed, "")
	if n := len(c.keys(t).Keys); n != 2 {
		t.Errorf("%d keys are published", n)
	}
	if err := c.tokens.Retire(); err != nil {
		t.Fatal(err)
	}
	c.expect(t, old, "invalid signature, no keys found")
	c.expect(t, renewed, "")
	// A program that is started anew knows what signed before.
	again := ok(serviceaccount.New(serviceaccount.Config{Key: second, OldKeys: []crypto.PublicKey{first.Public()}}))
	if id, err := again.AuthenticateToken(context.Background(), &apiserver.TokenCheck{Token: old, Lookup: c.lookup(t)}); err != nil || id == nil {
		t.Errorf("%v, %v", id, err)
	}
}

func (c *cluster) lookup(t testing.TB) func(client.Ref) (client.Object, bool, error) {
	return func(ref client.Ref) (client.Object, bool, error) {
		obj, err := c.Admin().Get(t.Context(), ref, metav1.GetOptions{})
		if err != nil {
			return nil, false, nil
		}
		return obj.(client.Object), true, nil
	}
}

func (c *cluster) get(t testing.TB, path string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("Authorization", "Bearer "+c.token(t, authenticationv1.TokenRequestSpec{}))
	w := httptest.NewRecorder()
	c.API.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w
}

func (c *cluster) keys(t testing.TB) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(c.get(t, "/openid/v1/jwks").Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestOpenID checks a token as a third party does: by the documents alone.
func TestOpenID(t *testing.T) {
	c := open(t)
	var doc struct {
		Issuer string   `json:"issuer"`
		URI    string   `json:"jwks_uri"`
		Algs   []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := json.Unmarshal(c.get(t, "/.well-known/openid-configuration").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Issuer != serviceaccount.DefaultIssuer || doc.URI != serviceaccount.DefaultIssuer+"/openid/v1/jwks" || !slices.Equal(doc.Algs, []string{"ES256"}) {
		t.Errorf("%+v", doc)
	}
	token := ok(jwt.ParseSigned(c.token(t, authenticationv1.TokenRequestSpec{Audiences: []string{"me"}}), []jose.SignatureAlgorithm{jose.ES256}))
	set := c.keys(t)
	key := set.Key(token.Headers[0].KeyID)
	if len(key) != 1 || !key[0].IsPublic() {
		t.Fatalf("the key %s is none of %+v", token.Headers[0].KeyID, set)
	}
	var claims jwt.Claims
	if err := token.Claims(key[0], &claims); err != nil {
		t.Fatal(err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: doc.Issuer, Subject: "system:serviceaccount:default:app", AnyAudience: jwt.Audience{"me"}}); err != nil {
		t.Error(err)
	}
}

// TestForged: nothing but the keys' own signature counts.
func TestForged(t *testing.T) {
	c := open(t)
	token := c.token(t, authenticationv1.TokenRequestSpec{})
	parts := strings.Split(token, ".")
	none := "eyJhbGciOiJub25lIn0." + parts[1] + "."
	other := open(t)
	for _, forged := range []string{
		none, parts[0] + "." + parts[1] + ".", parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		other.token(t, authenticationv1.TokenRequestSpec{}), "a.b.c", token + "x", parts[1],
	} {
		if s := c.review(t, forged); s.Authenticated {
			t.Errorf("%s is good", forged)
		}
	}
	c.expect(t, token, "")
}

func TestConfig(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		cfg  serviceaccount.Config
		want string
	}{
		{serviceaccount.Config{}, "Config.Key is missing"},
		{serviceaccount.Config{Key: ed}, "can't be used"},
		{serviceaccount.Config{Key: newKey(t), MaxExpiration: time.Minute}, "an hour or more"},
		{serviceaccount.Config{Key: newKey(t), Issuer: "https://a b"}, "Config.Issuer"},
	} {
		if _, err := serviceaccount.New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
}

func TestMaxExpiration(t *testing.T) {
	c := open(t, func(cfg *serviceaccount.Config) { cfg.MaxExpiration = time.Hour })
	if r := ok(c.request(t, authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](86400)})); *r.Spec.ExpirationSeconds != 3600 {
		t.Errorf("%d s", *r.Spec.ExpirationSeconds)
	}
}

// decoded is what a token holds: there is more than one way to write the same bytes in base64.
func decoded(token string) (out [3]string) {
	for i, part := range strings.SplitN(token, ".", 3) {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err == nil {
			out[i] = string(b)
		}
	}
	return out
}

// FuzzToken has the decoder see what anybody may send: no panic, and nobody is let in.
func FuzzToken(f *testing.F) {
	tokens := ok(serviceaccount.New(serviceaccount.Config{Key: newKey(f)}))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app", UID: "u"}}
	good := ok(tokens.Issue(context.Background(), &apiserver.TokenIssue{Account: account, Request: &authenticationv1.TokenRequest{}})).Status.Token
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCJ9.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		look := func(client.Ref) (client.Object, bool, error) { return account, true, nil }
		id, err := tokens.AuthenticateToken(context.Background(), &apiserver.TokenCheck{Token: token, Lookup: look})
		if id != nil && decoded(token) != decoded(good) {
			t.Errorf("%q is taken for %+v, %v", token, id, err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	c := open(b)
	token := c.token(b, authenticationv1.TokenRequestSpec{})
	look := c.lookup(b)
	for b.Loop() {
		if id, err := c.tokens.AuthenticateToken(context.Background(), &apiserver.TokenCheck{Token: token, Lookup: look}); id == nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	c := open(b)
	account := ok(client.For[*corev1.ServiceAccount](c.Admin()).Get(context.Background(), "default", "app"))
	for b.Loop() {
		ok(c.tokens.Issue(context.Background(), &apiserver.TokenIssue{Account: account, Request: &authenticationv1.TokenRequest{}}))
	}
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
