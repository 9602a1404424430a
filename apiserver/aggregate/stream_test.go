package aggregate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
)

const registration = `apiVersion: v1
kind: Service
metadata: {namespace: default, name: api}
spec:
  ports: [{port: 443, name: https}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: api-1, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: https, port: 8443}]
endpoints: [{addresses: [10.9.9.9]}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1alpha1.wardle.example.com}
spec:
  group: wardle.example.com
  version: v1alpha1
  groupPriorityMinimum: 2000
  versionPriority: 200
  caBundle: $CA
  service: {namespace: default, name: api}
`

// register makes the other server known, and waits until it is available.
func (w *world) register() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if out, err := w.write(ctx, &datadriven.TestData{Cmd: "create", Input: registration}); out != "" || err != nil {
		w.t.Fatal(out, err)
	}
	if _, err := w.await(ctx, "v1alpha1.wardle.example.com", "Passed"); err != nil {
		w.t.Fatal(err)
	}
}

// serve makes the server speak HTTPS, until stop is called or the test ends.
func (w *world) serve() (addr string, config *tls.Config, stop func()) {
	w.t.Helper()
	ca := ok(pki.New("users"))
	ln := ok(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = w.api.API.Serve(ctx, ln, ca.ServerTLS(ok(ca.Server("127.0.0.1"))))
	}()
	stop = func() { cancel(); <-served }
	w.t.Cleanup(stop)
	config = ca.ClientTLS(ok(ca.Client("ann", "system:masters")))
	config.NextProtos = []string{"http/1.1"}
	return ln.Addr().String(), config, stop
}

// TestWatch sees an event of another server as soon as that sends it, and the end of the watch when this server ends.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.register()
	addr, config, stop := w.serve()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := ok(http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+wardle+"/flunders?watch=1", http.NoBody))
	resp := ok(transport.RoundTrip(r))
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line[:15] != `{"type":"ADDED"` {
		t.Fatalf("the watch begins with %q, %v", line, err)
	}
	stop()
	if rest, _ := io.ReadAll(lines); len(rest) > 0 {
		t.Errorf("the watch goes on with %q", rest)
	}
}

// TestUpgrade speaks to another server in a protocol that this one does not know.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	w.register()
	addr, config, _ := w.serve()
	conn := ok(tls.Dial("tcp", addr, config))
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s/namespaces/default/flunders/a/talk HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Remote-User: root\r\n\r\n", wardle)
	in := bufio.NewReader(conn)
	resp := ok(http.ReadResponse(in, nil))
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the answer is %s", resp.Status)
	}
	if line := ok(in.ReadString('\n')); line != "hello ann\n" {
		t.Errorf("the other server says %q", line)
	}
	fmt.Fprintf(conn, "hi\n")
	if line := ok(in.ReadString('\n')); line != "you said hi\n" {
		t.Errorf("the other server says %q", line)
	}
}

// TestTrust reads the ConfigMap by which other servers know this one, adds to it, and removes it.
func TestTrust(t *testing.T) {
	w := newWorld(t)
	maps := client.For[*corev1.ConfigMap](w.api.Admin())
	const namespace, name = "kube-system", "extension-apiserver-authentication"
	wait := func(what string, good func(*corev1.ConfigMap) bool) *corev1.ConfigMap {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			m, err := maps.Get(t.Context(), namespace, name)
			if err == nil && good(m) {
				return m
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, %v", what, m, err)
			}
		}
	}
	first := wait("there is none", func(*corev1.ConfigMap) bool { return true })
	want := map[string]string{
		"client-ca-file":                     string(w.ca.CertificatePEM()),
		"requestheader-client-ca-file":       string(w.own.CertificatePEM()),
		"requestheader-allowed-names":        `["front-proxy-client"]`,
		"requestheader-username-headers":     `["X-Remote-User"]`,
		"requestheader-uid-headers":          `["X-Remote-Uid"]`,
		"requestheader-group-headers":        `["X-Remote-Group"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	}
	if fmt.Sprint(first.Data) != fmt.Sprint(want) {
		t.Errorf("the ConfigMap has\n%v\nwant\n%v", first.Data, want)
	}
	// Another server adds its own, in the place of this one's.
	more := ok(pki.New("more"))
	first.Data = map[string]string{"client-ca-file": string(more.CertificatePEM()), "requestheader-client-ca-file": string(more.CertificatePEM()),
		"requestheader-allowed-names": `["other"]`}
	ok(maps.Update(t.Context(), first))
	both := wait("what is this server's does not come back", func(m *corev1.ConfigMap) bool {
		return m.Data["requestheader-allowed-names"] == `["other","front-proxy-client"]`
	})
	if got, want := both.Data["client-ca-file"], string(more.CertificatePEM())+string(w.ca.CertificatePEM()); got != want {
		t.Errorf("the authorities are\n%s\nwant\n%s", got, want)
	}
	ref := refOf("configmaps", namespace, name)
	if err := w.api.Admin().Delete(t.Context(), ref, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("it does not come back", func(m *corev1.ConfigMap) bool { return m.UID != first.UID })
}
