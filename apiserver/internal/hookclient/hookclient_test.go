package hookclient_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/internal/hookclient"
	"github.com/inboard/inboard/apiserver/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() hookclient.Config {
	return hookclient.Config{Types: []func(*runtime.Scheme) error{admissionv1.AddToScheme},
		Versions: []schema.GroupVersion{admissionv1.SchemeGroupVersion}, MaxAnswer: 1000}
}

// hook is a webhook that counts its connections. By path: /ok answers, /hang does when it is let go, and so on.
type hook struct {
	*httptest.Server
	opened, open atomic.Int32
	asked        chan *http.Request
	let          chan struct{}
}

const okay = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}`

func newHook(t *testing.T) *hook {
	h := &hook{asked: make(chan *http.Request, 100), let: make(chan struct{})}
	h.Server = httptest.NewUnstartedServer(h)
	h.EnableHTTP2 = true
	h.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			h.opened.Add(1)
			h.open.Add(1)
		case http.StateClosed:
			h.open.Add(-1)
		}
	}
	h.StartTLS()
	t.Cleanup(h.Server.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.asked <- r
	switch r.URL.Path {
	case "/ok":
		fmt.Fprint(w, okay)
	case "/hang":
		select {
		case <-h.let:
			fmt.Fprint(w, okay)
		case <-r.Context().Done():
		}
	case "/broken":
		http.Error(w, "oh no", http.StatusInternalServerError)
	case "/html":
		fmt.Fprint(w, "<html>")
	case "/kind":
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Pod"}`)
	case "/large":
		fmt.Fprint(w, strings.Repeat(" ", 1000)+okay)
	case "/redirect":
		http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
	}
}

func (h *hook) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
}

func (h *hook) to(c *hookclient.Clients, path string) *hookclient.Target {
	return c.To("test", admissionregistrationv1.WebhookClientConfig{URL: ptr.To(h.URL + path), CABundle: h.ca()})
}

func ask(ctx context.Context, to *hookclient.Target) error {
	answer := &admissionv1.AdmissionReview{}
	err := to.Do(ctx, &admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "u"}}, answer)
	if err == nil && (answer.Response == nil || !answer.Response.Allowed) {
		return fmt.Errorf("the answer is %+v", answer)
	}
	return err
}

// awaitClosed waits until the webhook sees none of its connections any more.
func (h *hook) awaitClosed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); h.open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open", h.open.Load())
		}
	}
}

// Connections are kept while somebody needs them, also under another name, and are closed when a call is over that
// went on while nobody did.
func TestConnections(t *testing.T) {
	h := newHook(t)
	c := hookclient.New(config())
	defer c.Close()
	for range 10 {
		if err := ask(t.Context(), h.to(c, "/ok")); err != nil {
			t.Fatal(err)
		}
	}
	c.Keep([]*hookclient.Target{c.To("other", admissionregistrationv1.WebhookClientConfig{URL: ptr.To(h.URL + "/ok"), CABundle: h.ca()})})
	if err := ask(t.Context(), h.to(c, "/ok")); err != nil || h.opened.Load() != 1 {
		t.Errorf("%v, over %d connections", err, h.opened.Load())
	}
	if r := <-h.asked; r.Proto != "HTTP/2.0" || r.UserAgent() != "kube-apiserver-admission" || r.URL.RawQuery != "timeout=30s" {
		t.Errorf("%s, %s, %s", r.Proto, r.UserAgent(), r.URL)
	}
	for len(h.asked) > 0 {
		<-h.asked
	}
	c.Keep(nil)
	h.awaitClosed(t)
	done := make(chan error)
	go func() { done <- ask(t.Context(), h.to(c, "/hang")) }()
	<-h.asked
	c.Keep(nil)
	close(h.let)
	if err := <-done; err != nil {
		t.Errorf("a call under way: %v", err)
	}
	h.awaitClosed(t)
}

// Close ends what is asked, and leaves neither connections nor goroutines.
func TestClose(t *testing.T) {
	h := newHook(t)
	c := hookclient.New(config())
	if err := ask(t.Context(), h.to(c, "/ok")); err != nil {
		t.Fatal(err)
	}
	<-h.asked
	done := make(chan error)
	for range 5 {
		go func() { done <- ask(t.Context(), h.to(c, "/hang")) }()
		<-h.asked
	}
	c.Close()
	for range 5 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	h.awaitClosed(t)
	var setup *hookclient.SetupError
	if err := ask(t.Context(), h.to(c, "/ok")); !errors.As(err, &setup) {
		t.Errorf("after Close: %v", err)
	}
	c.Close()
}

// What clients get to read is what kube-apiserver's would.
func TestErrors(t *testing.T) {
	h := newHook(t)
	c := hookclient.New(config())
	defer c.Close()
	type clientConfig = admissionregistrationv1.WebhookClientConfig
	for name, tc := range map[string]struct {
		to   *hookclient.Target
		want string // "" is none
	}{
		"redirected":  {h.to(c, "/redirect"), ""},
		"broken":      {h.to(c, "/broken"), `an error on the server ("oh no") has prevented the request from succeeding`},
		"not JSON":    {h.to(c, "/html"), `couldn't get version/kind; json parse error: `},
		"of a kind":   {h.to(c, "/kind"), `no kind "Pod" is registered for version "v1" in scheme`},
		"empty":       {h.to(c, "/empty"), `0-length response with status code: 200 and content type: `},
		"large":       {h.to(c, "/large"), `the answer is larger than 1000 bytes`},
		"not trusted": {c.To("test", clientConfig{URL: ptr.To(h.URL + "/ok")}), `tls: failed to verify certificate: x509: certificate signed by unknown authority`},
		"no PEM":      {c.To("test", clientConfig{URL: ptr.To(h.URL), CABundle: []byte("x")}), `could not get REST client: unable to load root certificates: unable to parse bytes as PEM block`},
		"no URL":      {c.To("test", clientConfig{URL: ptr.To("https://%")}), `could not get REST client: failed calling webhook "test": Unparsable URL: parse "https://%": invalid URL escape "%"`},
		"nothing":     {c.To("test", clientConfig{}), `could not get REST client: failed calling webhook "test": webhook configuration must have either service or URL`},
		"a Service": {c.To("test", clientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "ns", Name: "hook"}}),
			`the service ns/hook of the webhook can't be reached from here`},
	} {
		err := ask(t.Context(), tc.to)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A Service is looked up for each call, proves its name, and is spoken to by HTTP/1.1; the context is the caller's.
func TestService(t *testing.T) {
	h := newHook(t)
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("hook.ns.svc")
	if err != nil {
		t.Fatal(err)
	}
	h.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != "hook.ns.svc" {
			return nil, fmt.Errorf("asked for %q", hello.ServerName)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair.TLS}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}, nil
	}
	type key struct{}
	var mu sync.Mutex
	var resolved []string
	cfg := config()
	cfg.Resolve = func(ctx context.Context, namespace, name string, port int32) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		resolved = append(resolved, fmt.Sprint(ctx.Value(key{}), " ", namespace, "/", name, ":", port))
		return h.Listener.Addr().String(), nil
	}
	c := hookclient.New(cfg)
	defer c.Close()
	for _, port := range []*int32{nil, ptr.To[int32](8443)} {
		to := c.To("test", admissionregistrationv1.WebhookClientConfig{CABundle: ca.CertificatePEM(),
			Service: &admissionregistrationv1.ServiceReference{Namespace: "ns", Name: "hook", Path: ptr.To("/ok"), Port: port}})
		for n := range 2 {
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, n), time.Hour)
			if err := ask(ctx, to); err != nil {
				t.Fatal(err)
			}
			cancel()
			if r := <-h.asked; r.Proto != "HTTP/1.1" || !strings.HasPrefix(r.Host, "hook.ns.svc") || r.URL.RawQuery != "timeout=1h0m0s" {
				t.Errorf("%s, %s, %s", r.Proto, r.Host, r.URL)
			}
		}
	}
	if got := strings.Join(resolved, ", "); got != "0 ns/hook:443, 1 ns/hook:443, 0 ns/hook:8443, 1 ns/hook:8443" || h.opened.Load() != 2 {
		t.Errorf("resolved %s, over %d connections", got, h.opened.Load())
	}
}
