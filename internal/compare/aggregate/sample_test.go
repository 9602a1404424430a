package aggregate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/aggregate"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/apiserver/policy"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/apiserver/webhook"
	"github.com/inboard/inboard/internal/compare/kube"
	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

// patience bounds the wait for something that must happen.
const patience = 2 * time.Minute

// world is an API server whose user is an administrator, by the kubeconfig.
type world struct {
	*testing.T
	kubectl, kubeconfig string
}

// newWorld starts an API server that decides by RBAC, and passes requests for Services on to a port of loopback.
func newWorld(t *testing.T, to string) *world {
	t.Helper()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl in PATH: make kubectl builds it")
	}
	st := must(store.Open(store.Config{}))
	t.Cleanup(func() { _ = st.Close() })
	users, proxies := must(pki.New("users")), must(pki.New("front-proxies"))
	own := must(proxies.Client("front-proxy-client"))
	header := &apiserver.RequestHeader{CA: proxies.CertificatePEM(), AllowedNames: []string{"front-proxy-client"}}
	layer := must(aggregate.New(aggregate.Config{
		Store: st, Certificate: func() (*tls.Certificate, error) { return &own.TLS, nil }, Refresh: time.Second,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, to)
		},
		Trust: aggregate.Trust{ClientCA: users.CertificatePEM(), RequestHeader: header},
	}))
	t.Cleanup(func() { _ = layer.Close() })
	// Extension servers watch for what may have a say in their own admission, too.
	all := slices.Concat(kinds.All(), aggregate.Kinds(), webhook.Kinds(), policy.Kinds())
	cfg := apiserver.Config{Store: st, Kinds: all, Aggregator: layer, Authorizer: must(rbac.New(rbac.Config{Store: st}))}
	cfg.Authentication.RequestHeader = header
	server := must(apiserver.New(cfg))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { _ = server.Run(ctx); done <- struct{}{} }()
	go func() {
		_ = server.Serve(ctx, ln, users.ServerTLS(must(users.Server("127.0.0.1")), proxies))
		done <- struct{}{}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	<-server.Ready()
	w := &world{T: t, kubectl: kubectl, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	err = pki.Kubeconfig{Server: "https://" + ln.Addr().String(), Authority: users.CertificatePEM(),
		Client: must(users.Client("admin", "system:masters"))}.Write(w.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// run runs kubectl and returns what it says.
func (w *world) run(stdin string, args ...string) (string, error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.kubectl, append([]string{"--kubeconfig", w.kubeconfig, "--cache-dir", w.TempDir()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// expect runs kubectl, and wants it to say something.
func (w *world) expect(want, stdin string, args ...string) {
	w.Helper()
	out, err := w.run(stdin, args...)
	if err != nil || !strings.Contains(out, want) {
		w.Errorf("kubectl %s says\n%s%v\nwant %q", strings.Join(args, " "), out, err, want)
	}
}

// eventually runs kubectl until it says something.
func (w *world) eventually(want string, args ...string) {
	w.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		out, err := w.run("", args...)
		if err == nil && strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("kubectl %s says\n%s%v\nwant %q", strings.Join(args, " "), out, err, want)
		}
	}
}

// serveEtcd serves a store as etcd does, for the extension server to keep its objects in.
func serveEtcd(t *testing.T) string {
	t.Helper()
	st := must(store.Open(store.Config{}))
	t.Cleanup(func() { _ = st.Close() })
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	url := "http://" + ln.Addr().String()
	api := must(etcdapi.New(etcdapi.Config{Store: st, ClusterName: "test", Name: "test", ClientURLs: func(string) []string { return []string{url} }}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = api.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	return url
}

const registration = `
apiVersion: v1
kind: Namespace
metadata: {name: wardle}
---
apiVersion: v1
kind: Service
metadata: {namespace: wardle, name: api}
spec:
  ports: [{port: 443, name: https}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: wardle, name: api-1, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: https, port: 443}]
endpoints: [{addresses: [10.9.9.9]}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1alpha1.wardle.example.com}
spec: {group: wardle.example.com, version: v1alpha1, groupPriorityMinimum: 2000, versionPriority: 200, caBundle: $CA, service: {namespace: wardle, name: api}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.wardle.example.com}
spec: {group: wardle.example.com, version: v1beta1, groupPriorityMinimum: 2000, versionPriority: 100, caBundle: $CA, service: {namespace: wardle, name: api}}
`

// TestSampleServer has Kubernetes' sample-apiserver behind the aggregation layer, and uses it by kubectl. It knows users
// by what the layer says and by the ConfigMap that the layer keeps, and asks the API server what they may do.
func TestSampleServer(t *testing.T) {
	port := freePort(t)
	w := newWorld(t, "127.0.0.1:"+port)
	dir := t.TempDir()
	ca := must(pki.New("wardle"))
	serving := must(ca.Server("api.wardle.svc"))
	for name, text := range map[string][]byte{"tls.crt": serving.CertificatePEM, "tls.key": serving.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("requestheader-client-ca-file", "get", "configmap", "-n", "kube-system", "extension-apiserver-authentication", "-o", "yaml")
	kube.Run(t, "sample-apiserver", "--bind-address=127.0.0.1", "--secure-port="+port, "--etcd-servers="+serveEtcd(t),
		"--kubeconfig="+w.kubeconfig, "--authentication-kubeconfig="+w.kubeconfig, "--authorization-kubeconfig="+w.kubeconfig,
		"--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-private-key-file="+filepath.Join(dir, "tls.key"))
	w.expect("apiservice.apiregistration.k8s.io/v1alpha1.wardle.example.com created",
		strings.ReplaceAll(registration, "$CA", base64.StdEncoding.EncodeToString(ca.CertificatePEM())), "apply", "-f", "-")
	w.eventually("condition met", "wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1alpha1.wardle.example.com", "apiservice/v1beta1.wardle.example.com")
	w.use()
}

// use does what people do.
func (w *world) use() {
	w.Helper()
	w.expect("wardle.example.com/v1alpha1   true         Flunder", "", "api-resources", "--api-group=wardle.example.com")
	w.expect("wardle/api   True", "", "get", "apiservice", "v1alpha1.wardle.example.com")
	w.expect("GROUP:      wardle.example.com", "", "explain", "flunders")
	w.expect("FIELD: reference", "", "explain", "flunders.spec.reference")
	w.expect("No resources found", "", "get", "flunders", "-A")
	watch := w.watch("flunders.v1alpha1.wardle.example.com")
	flunder := "apiVersion: wardle.example.com/v1alpha1\nkind: Flunder\nmetadata: {namespace: default, name: a, labels: {color: red}}\nspec: {reference: b}\n"
	w.expect("flunder.wardle.example.com/a created", flunder, "create", "-f", "-")
	w.expect("flunder.wardle.example.com/a labeled", "", "label", "flunder", "a", "more=less")
	w.expect("a      ", "", "get", "flunders", "-l", "more=less")
	w.expect("apiVersion: wardle.example.com/v1beta1", "", "get", "flunders.v1beta1.wardle.example.com", "a", "-o", "yaml")
	w.expect("serverside-applied", strings.ReplaceAll(flunder, "reference: b", "reference: c"), "apply", "--server-side", "--force-conflicts", "-f", "-")
	watch("a  ")
	w.expect("yes", "", "auth", "can-i", "delete", "flunders")
	if out, err := w.run("", "get", "flunders", "--as=nobody"); err == nil || !strings.Contains(out, "Forbidden") {
		w.Errorf("nobody sees flunders: %s %v", out, err)
	}
	w.expect("flunder.wardle.example.com \"a\" deleted", "", "delete", "flunder", "a")
	if out, err := w.run("apiVersion: wardle.example.com/v1alpha1\nkind: Flunder\nmetadata: {namespace: default, name: b}\nspec: {none: 1}\n", "create", "--validate=strict", "-f", "-"); err == nil {
		w.Errorf("a field that does not exist is accepted: %s", out)
	}
}

// watch begins kubectl get --watch; what it returns waits for a line.
func (w *world) watch(what string) func(line string) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, w.kubectl, "--kubeconfig", w.kubeconfig, "get", what, "--watch", "--no-headers")
	var out lines
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	w.Cleanup(func() { cancel(); <-done })
	return func(line string) {
		w.Helper()
		for deadline := time.Now().Add(patience); !strings.Contains(out.String(), line); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				w.Fatalf("the watch shows %q, want %q", out.String(), line)
			}
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
}

// lines is what a program has written so far.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
