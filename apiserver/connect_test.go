package apiserver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
)

// echoKubelet answers upgrades by telling the request's URL, and then repeats what it is sent.
func echoKubelet(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = fmt.Fprintf(w, "%s %s auth=%q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
		return
	}
	if strings.HasSuffix(r.URL.Path, "/bad") {
		http.Error(w, "container not running", http.StatusNotFound)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n%s %s\n", r.Header.Get("Upgrade"), r.Method, r.URL.RequestURI())
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

func connectServer(t *testing.T) *httptest.Server {
	t.Helper()
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
	kubelet := httptest.NewUnstartedServer(http.HandlerFunc(echoKubelet))
	kubelet.TLS = ca.ServerTLS(serving)
	kubelet.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	kubelet.StartTLS()
	t.Cleanup(kubelet.Close)
	s := newServer(t, func(c *apiserver.Config) {
		c.Kubelet.TLS = ca.ClientTLS(own)
		c.Authentication.Tokens = map[string]apiserver.Identity{"admin": admin, "reader": {User: "reader"}}
		c.Authorizer = apiserver.AuthorizerFunc(func(_ context.Context, a *apiserver.Attributes) (bool, string, error) {
			return a.Verb == "get", "", nil
		})
	})
	logNode(t, s, kubelet.Listener.Addr().(*net.TCPAddr).Port)
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	return front
}

// upgrade sends a request that asks for another protocol, and returns the first line of the answer and what
// follows its head.
func upgrade(t *testing.T, front *httptest.Server, method, path, token string) (string, *bufio.Reader, net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: test/1\r\n\r\n", method, path, token); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	first, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for line := first; strings.TrimSpace(line) != ""; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(first), r, conn
}

func TestConnect(t *testing.T) {
	front := connectServer(t)
	const pod = "/api/v1/namespaces/default/pods/p"
	for _, tc := range []struct{ method, path, want string }{
		{"POST", pod + "/exec?command=a&command=b+c&container=good&stdin=true&stdout=1&stderr=false", "POST /exec/default/p/good?command=a&command=b+c&input=1&output=1"},
		{"GET", pod + "/attach?container=good&tty=true&stdout=true", "GET /attach/default/p/good?output=1&tty=1"},
		{"POST", pod + "/portforward?ports=80&ports=443", "POST /portForward/default/p?port=80%2C443"},
		{"GET", "/api/v1/nodes/n1/proxy/a%2Fb?c=d", "GET /a%2Fb?c=d"},
	} {
		status, r, conn := upgrade(t, front, tc.method, tc.path, "admin")
		line, err := r.ReadString('\n')
		if status != "HTTP/1.1 101 Switching Protocols" || strings.TrimSpace(line) != tc.want {
			t.Errorf("%s: %s, %q, %v", tc.path, status, line, err)
			continue
		}
		_, _ = fmt.Fprintln(conn, "hello")
		if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
			t.Errorf("%s: the echo is %q, %v", tc.path, line, err)
		}
	}
}

func TestConnectRefused(t *testing.T) {
	front := connectServer(t)
	const pod = "/api/v1/namespaces/default/pods/p"
	for _, tc := range []struct{ method, path, token, want string }{
		{"POST", pod + "/exec?command=a", "admin", "400"},                // which container?
		{"POST", pod + "/exec?command=a&container=none", "admin", "400"}, // no such container
		{"POST", pod + "/exec?command=a&container=bad", "admin", "404"},  // the kubelet's answer
		{"GET", pod + "/exec?command=a&container=good", "reader", "403"}, // to run things is to create
		{"POST", pod + "/exec?command=a&container=good", "reader", "403"},
		{"PUT", pod + "/exec?command=a&container=good", "admin", "405"},
		{"POST", "/api/v1/namespaces/default/pods/none/portforward?ports=80", "admin", "404"},
	} {
		if status, _, _ := upgrade(t, front, tc.method, tc.path, tc.token); !strings.HasPrefix(status, "HTTP/1.1 "+tc.want) {
			t.Errorf("%s %s: %s, want %s", tc.method, tc.path, status, tc.want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", front.URL+pod+"/exec?command=a&container=good", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin")
	resp, err := front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != 400 || !strings.Contains(string(body), "Upgrade request required") {
		t.Errorf("without an upgrade: %d %s %v", resp.StatusCode, body, err)
	}
}

// A proxy to a service goes to a ready endpoint of the port that is named.
func TestServiceProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(echoKubelet))
	defer backend.Close()
	s := newServer(t, asAdmin, func(c *apiserver.Config) {
		c.Kubelet.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.2:8080" {
				return nil, fmt.Errorf("dialed %s", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, backend.Listener.Addr().String())
		}
	})
	c := s.Client(admin)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "other", Port: 81}}
	if _, err := client.For[*corev1.Service](c).Create(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	serviceSlice(t, c, 8080)
	front := httptest.NewServer(s)
	defer front.Close()
	for _, tc := range []struct{ path, want string }{
		{"web:80/proxy/x?y=z", `200 GET /x?y=z auth=""`}, {"http:web:http/proxy/", `200 GET / auth=""`},
		{"web:81/proxy/", "503"}, {"web:82/proxy/", "503"}, {"none/proxy/", "503"}, {"none:80/proxy/", "404"}, {"a:b:c:d/proxy/", "400"},
	} {
		resp, err := front.Client().Get(front.URL + "/api/v1/namespaces/default/services/" + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != tc.want && (len(tc.want) > 3 || !strings.HasPrefix(got, tc.want)) {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
}

func serviceSlice(t *testing.T, c client.Interface, port int32) {
	t.Helper()
	name, yes, no := "http", true, false
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-1", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			{Addresses: []string{"192.0.2.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		},
	}
	if _, err := client.For[*discoveryv1.EndpointSlice](c).Create(t.Context(), slice); err != nil {
		t.Fatal(err)
	}
}
