package connect

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/internal/apitest"
)

// idle ends streams of which nobody hears any more.
const idle = time.Minute

// kubelet stands in for one: it passes streams on to a runtime, and translates those that come on
// WebSockets, by the code that kubelets do it with.
type kubelet struct{ runtime *url.URL }

func (k kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.Header.Get("Authorization") != "" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	var handler http.Handler = httputil.NewSingleHostReverseProxy(k.runtime)
	q := r.URL.Query()
	switch protocol := r.Header.Get("Sec-Websocket-Protocol"); {
	case strings.Contains(protocol, "v5.channel.k8s.io"):
		to := k.runtime.JoinPath(r.URL.Path)
		to.RawQuery = r.URL.RawQuery
		handler = proxy.NewStreamTranslatorHandler(to, nil, 0, proxy.Options{
			Stdin: q.Get("input") == "1", Stdout: q.Get("output") == "1", Stderr: q.Get("error") == "1", Tty: q.Get("tty") == "1",
		})
	case strings.Contains(protocol, "SPDY/3.1+portforward.k8s.io"):
		to := k.runtime.JoinPath(r.URL.Path)
		to.RawQuery = r.URL.RawQuery
		handler = proxy.NewTunnelingHandler(utilproxy.NewUpgradeAwareHandler(to, nil, false, true, responder{}))
	}
	handler.ServeHTTP(w, r)
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// criRuntime serves streams by the code that container runtimes serve them with.
type criRuntime struct{}

func (k criRuntime) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case parts[0] == "exec" && len(parts) == 4:
		opts, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, k, parts[2], "", parts[3], r.URL.Query()["command"], opts, idle, idle, remotecommand.SupportedStreamingProtocols)
	case parts[0] == "attach" && len(parts) == 4:
		opts, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeAttach(w, r, k, parts[2], "", parts[3], opts, idle, idle, remotecommand.SupportedStreamingProtocols)
	case parts[0] == "portForward" && len(parts) == 3:
		opts, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, k, parts[2], "", opts, idle, idle, portforward.SupportedProtocols)
	default:
		fmt.Fprintf(w, "%s %s?%s", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	}
}

// ExecInContainer tells what is run, and repeats the input in capitals.
func (k criRuntime) ExecInContainer(_ context.Context, name, _, container string, cmd []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	fmt.Fprintf(out, "%s/%s runs %s\n", name, container, strings.Join(cmd, " "))
	if errs != nil {
		fmt.Fprintln(errs, "a warning")
	}
	if in != nil {
		b, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s", strings.ToUpper(string(b)))
	}
	if cmd[0] == "false" {
		return exit(3)
	}
	return nil
}

// AttachContainer is ExecInContainer without a command.
func (k criRuntime) AttachContainer(ctx context.Context, name, uid, container string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return k.ExecInContainer(ctx, name, uid, container, []string{"on"}, in, out, errs, tty, resize, 0)
}

// PortForward repeats what it is sent, after the port.
func (k criRuntime) PortForward(_ context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	buf := make([]byte, 64)
	n, err := stream.Read(buf)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stream, "%s:%d %s", name, port, buf[:n])
	return err
}

// exit is the error of a command that ended with a code.
type exit int

func (e exit) Error() string   { return fmt.Sprintf("exit status %d", int(e)) }
func (e exit) String() string  { return e.Error() }
func (e exit) Exited() bool    { return true }
func (e exit) ExitStatus() int { return int(e) }

// start starts an API server whose one node has the kubelet, with a pod on it. It returns a kubeconfig.
func start(t *testing.T) string {
	t.Helper()
	ca, err := pki.New("kubelets")
	must(t, err)
	serving, err := ca.Server("127.0.0.1")
	must(t, err)
	own, err := ca.Client("kube-apiserver-kubelet-client", apiserver.GroupMasters)
	must(t, err)
	runtime := httptest.NewServer(criRuntime{})
	t.Cleanup(runtime.Close)
	at, err := url.Parse(runtime.URL)
	must(t, err)
	srv := httptest.NewUnstartedServer(kubelet{at})
	srv.TLS = ca.ServerTLS(serving)
	srv.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	srv.StartTLS()
	t.Cleanup(srv.Close)
	api := apitest.Open(t, func(c *apiserver.Config) { c.Kubelet.TLS = ca.ClientTLS(own) })
	ctx, admin := t.Context(), api.Admin()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(srv.Listener.Addr().(*net.TCPAddr).Port)
	_, err = client.For[*corev1.Node](admin).Create(ctx, node)
	must(t, err)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "default"}}
	_, err = client.For[*corev1.ServiceAccount](admin).Create(ctx, account)
	must(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}}
	pod.Spec = corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "main", Image: "i", Stdin: true}}}
	pods := client.For[*corev1.Pod](admin)
	pod, err = pods.Create(ctx, pod)
	must(t, err)
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "127.0.0.1"
	pod.Status.PodIPs = []corev1.PodIP{{IP: "127.0.0.1"}}
	_, err = pods.UpdateStatus(ctx, pod)
	must(t, err)
	return api.Serve(t, "admin", apiserver.GroupMasters)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
