package apiserver_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
)

func asAdmin(c *apiserver.Config) {
	c.Authentication.Custom = func(*http.Request) (apiserver.Identity, bool, error) { return admin, true, nil }
}

func do(s http.Handler, method, url, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func reason(w *httptest.ResponseRecorder) string {
	var status metav1.Status
	_ = json.Unmarshal(w.Body.Bytes(), &status)
	return fmt.Sprintf("%d %s", w.Code, status.Reason)
}

func TestBodiesAreBounded(t *testing.T) {
	s := newServer(t, asAdmin, func(c *apiserver.Config) { c.Limits.Body = 1000 })
	big := `{"metadata":{"name":"a"},"data":{"k":"` + strings.Repeat("x", 1000) + `"}}`
	if got := reason(do(s, "POST", "/api/v1/namespaces/default/configmaps", big)); got != "413 RequestEntityTooLarge" {
		t.Error(got)
	}
	// The length that a client tells is not believed either.
	r := httptest.NewRequest("POST", "/api/v1/namespaces/default/configmaps", io.MultiReader(strings.NewReader(big)))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if got := reason(w); got != "413 RequestEntityTooLarge" {
		t.Error(got)
	}
}

func TestObjectsAreBounded(t *testing.T) {
	s := newServer(t)
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}
	m.BinaryData = map[string][]byte{"k": make([]byte, 1600<<10)}
	if _, err := client.For[*corev1.ConfigMap](s.Client(admin)).Create(t.Context(), m); err == nil {
		t.Error("an object of 1.6 MB was stored")
	}
}

func TestInFlightLimit(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := newServer(t, asAdmin, func(c *apiserver.Config) {
		c.Limits.InFlight = 1
		c.Admission = []apiserver.AdmissionPlugin{{Name: "Hold", Admit: func(context.Context, *apiserver.AdmissionRequest) error {
			once.Do(func() { close(entered) })
			<-hold
			return nil
		}}}
	})
	done := make(chan *httptest.ResponseRecorder)
	go func() {
		done <- do(s, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"a"}}`)
	}()
	<-entered
	w := do(s, "GET", "/api/v1/pods", "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	// Health is answered all the same.
	if w := do(s, "GET", "/livez", ""); w.Code != http.StatusOK {
		t.Errorf("livez: %d", w.Code)
	}
	close(hold)
	if w := <-done; w.Code != http.StatusCreated {
		t.Errorf("the request that was there first: %d %s", w.Code, w.Body)
	}
}

func TestPanicIsOne500(t *testing.T) {
	s := newServer(t, asAdmin, func(c *apiserver.Config) {
		c.Authorizer = apiserver.AuthorizerFunc(func(context.Context, *apiserver.Attributes) (bool, string, error) { panic("boom") })
		c.Authentication.Custom = func(*http.Request) (apiserver.Identity, bool, error) {
			return apiserver.Identity{User: "u"}, true, nil
		}
	})
	if got := reason(do(s, "GET", "/api/v1/pods", "")); got != "500 InternalError" {
		t.Error(got)
	}
	if got := reason(do(s, "GET", "/api/v1/pods", "")); got != "500 InternalError" {
		t.Errorf("the next request: %s", got)
	}
}

func TestGzip(t *testing.T) {
	s := newServer(t, asAdmin)
	maps := client.For[*corev1.ConfigMap](s.Client(admin))
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}, Data: map[string]string{"k": strings.Repeat("x", 200<<10)}}
	if _, err := maps.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w := do(s, "GET", "/api/v1/configmaps", "", "Accept-Encoding", "gzip")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > 10_000 {
		t.Fatalf("%q, %d bytes", w.Header().Get("Content-Encoding"), w.Body.Len())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	plain := do(s, "GET", "/api/v1/configmaps", "").Body.Bytes()
	if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain) {
		t.Errorf("%v, %d bytes instead of %d", err, len(b), len(plain))
	}
	for _, from := range []string{"127.0.0.1:4711", "[::1]:4711", "[::ffff:127.0.0.1]:4711", "pipe"} {
		r := httptest.NewRequest("GET", "/api/v1/configmaps", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Header().Get("Content-Encoding") != "" || !bytes.Equal(w.Body.Bytes(), plain) {
			t.Errorf("a client on the same machine, %s, gets %q, %d bytes", from, w.Header().Get("Content-Encoding"), w.Body.Len())
		}
	}
}

func TestClientCertificates(t *testing.T) {
	s := newServer(t)
	ca, err := pki.New("ours")
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.New("theirs")
	if err != nil {
		t.Fatal(err)
	}
	pipe := apiserver.NewPipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	serving, err := ca.Server("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- s.Serve(ctx, pipe, ca.ServerTLS(serving)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	get := func(own *pki.Pair) string {
		tr := &http.Transport{DialContext: pipe.Dial, TLSClientConfig: ca.ClientTLS(own)}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("https://kubernetes/api/v1/pods")
		if err != nil {
			return "refused"
		}
		defer func() { _ = resp.Body.Close() }()
		return strconv.Itoa(resp.StatusCode)
	}
	pair := func(a *pki.Authority, user string, groups ...string) *pki.Pair {
		p, err := a.Client(user, groups...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tc := range []struct {
		who  string
		own  *pki.Pair
		want string
	}{
		{"nobody", nil, "403"},
		{"an administrator", pair(ca, "admin", apiserver.GroupMasters), "200"},
		{"a user", pair(ca, "user"), "403"},
		{"the scheduler", pair(ca, "system:kube-scheduler"), "200"},
		// The client is told whose certificates count, and keeps its own to itself.
		{"a stranger", pair(other, "admin", apiserver.GroupMasters), "403"},
	} {
		if got := get(tc.own); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.who, got, tc.want)
		}
	}
}

// TestSlowWatcher shows that a client which reads nothing delays nobody.
func TestSlowWatcher(t *testing.T) {
	s := newServer(t, asAdmin)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, nil) }()
	slow, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(slow, "GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + ln.Addr().String() + "/api/v1/configmaps?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	maps := client.For[*corev1.ConfigMap](s.Client(admin))
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}
	if m, err = maps.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if !lines.Scan() {
			t.Fatalf("the watch ended: %v", lines.Err())
		}
		m.Data = map[string]string{"n": strconv.Itoa(i), "fill": strings.Repeat("x", 50_000)}
		if m, err = maps.Update(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("ending took %s", took)
	}
	_ = resp.Body.Close()
	_ = slow.Close()
	http.DefaultClient.CloseIdleConnections()
}

// TestLogs has a kubelet of its own.
func TestLogs(t *testing.T) {
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.Client("kube-apiserver-kubelet-client", apiserver.GroupMasters)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	kubelet := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/containerLogs/default/p/bad" {
			http.Error(w, `container "bad" in pod "p" is waiting to start: ContainerCreating`, http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %s\n", r.TLS.PeerCertificates[0].Subject.CommonName, r.URL.Path, r.URL.RawQuery)
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("follow") == "true" {
			<-release
			_, _ = fmt.Fprintln(w, "end")
		}
	}))
	kubelet.TLS = ca.ServerTLS(serving)
	kubelet.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	kubelet.StartTLS()
	defer kubelet.Close()
	s := newServer(t, asAdmin, func(c *apiserver.Config) { c.Kubelet.TLS = ca.ClientTLS(own) })
	logNode(t, s, kubelet.Listener.Addr().(*net.TCPAddr).Port)

	const path = "/api/v1/namespaces/default/pods/p/log"
	for _, tc := range []struct{ query, want string }{
		{"", "400 a container name must be specified for pod p, choose one of: [good bad]"},
		{"?container=none", "400 container none is not valid for pod p"},
		{"?container=good&tailLines=3", "200 kube-apiserver-kubelet-client /containerLogs/default/p/good tailLines=3\n"},
		{"?container=bad", `400 container "bad" in pod "p" is waiting to start: ContainerCreating`},
	} {
		w := do(s, "GET", path+tc.query, "")
		text := w.Body.String()
		var status metav1.Status
		if json.Unmarshal(w.Body.Bytes(), &status) == nil {
			text = status.Message
		}
		if got := fmt.Sprintf("%d %s", w.Code, text); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.query, got, tc.want)
		}
	}
	follow(t, s, path+"?container=good&follow=true", release)
}

// follow reads a log that goes on: each line arrives before the next is written.
func follow(t *testing.T, s http.Handler, path string, release chan struct{}) {
	front := httptest.NewServer(s)
	defer front.Close()
	defer front.CloseClientConnections()
	resp, err := http.Get(front.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), "follow=true") {
		t.Errorf("first line %q", lines.Text())
	}
	close(release)
	if !lines.Scan() || lines.Text() != "end" {
		t.Errorf("last line %q", lines.Text())
	}
	http.DefaultClient.CloseIdleConnections()
}

// logNode makes a node whose kubelet listens on a port, and a pod there with two containers.
func logNode(t *testing.T, s *apiserver.Server, port int) {
	t.Helper()
	c := s.Client(admin)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	if _, err := client.For[*corev1.Node](c).Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	pod := testPod("p")
	pod.Spec.NodeName = "n1"
	pod.Spec.Containers = []corev1.Container{{Name: "good", Image: "x"}, {Name: "bad", Image: "x"}}
	if _, err := client.For[*corev1.Pod](c).Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}
