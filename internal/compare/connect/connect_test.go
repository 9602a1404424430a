package connect

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

var kubectl = flag.String("kubectl", "kubectl", "the kubectl to test with")

func load(t *testing.T, kubeconfig string) (*rest.Config, *kubernetes.Clientset) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	cs, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	return cfg, cs
}

// executors are the two protocols that clients speak.
var executors = map[string]func(cfg *rest.Config, u *url.URL) (remotecommand.Executor, error){
	"spdy": func(cfg *rest.Config, u *url.URL) (remotecommand.Executor, error) {
		return remotecommand.NewSPDYExecutor(cfg, "POST", u)
	},
	"websocket": func(cfg *rest.Config, u *url.URL) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutor(cfg, "GET", u.String())
	},
}

func TestExecAndAttach(t *testing.T) {
	cfg, cs := load(t, start(t))
	for name, executor := range executors {
		for _, tc := range []struct {
			sub, command, want string
			code               int
		}{
			{"exec", "cat -", "p/main runs cat -\nSOME INPUT", 0},
			{"exec", "false", "p/main runs false\nSOME INPUT", 3},
			{"attach", "", "p/main runs on\nSOME INPUT", 0},
		} {
			t.Run(name+" "+tc.sub+" "+tc.command, func(t *testing.T) {
				req := cs.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name("p").SubResource(tc.sub)
				if tc.sub == "exec" {
					req.VersionedParams(&corev1.PodExecOptions{Command: strings.Fields(tc.command), Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec)
				} else {
					req.VersionedParams(&corev1.PodAttachOptions{Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec)
				}
				e, err := executor(cfg, req.URL())
				must(t, err)
				var out, errs bytes.Buffer
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err = e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("some input"), Stdout: &out, Stderr: &errs})
				code := 0
				if exit, ok := err.(utilexec.ExitError); ok {
					code = exit.ExitStatus()
				} else {
					must(t, err)
				}
				if out.String() != tc.want || errs.String() != "a warning\n" || code != tc.code {
					t.Errorf("got %q, %q, code %d", out.String(), errs.String(), code)
				}
			})
		}
	}
}

func TestPortForward(t *testing.T) {
	cfg, cs := load(t, start(t))
	u := cs.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name("p").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	must(t, err)
	t.Run("spdy", func(t *testing.T) {
		forward(t, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, "POST", u))
	})
	t.Run("websocket", func(t *testing.T) {
		dialer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, cfg)
		must(t, err)
		forward(t, dialer)
	})
}

func forward(t *testing.T, dialer httpstream.Dialer) {
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := f.GetPorts()
	must(t, err)
	for range 3 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		must(t, err)
		fmt.Fprint(conn, "hello")
		b, err := io.ReadAll(conn)
		must(t, err)
		conn.Close()
		if string(b) != "p:8080 hello" {
			t.Errorf("got %q", b)
		}
	}
	close(stop)
	must(t, <-done)
}

// The real kubectl, with the protocol that it prefers and with the older one.
func TestKubectl(t *testing.T) {
	if _, err := exec.LookPath(*kubectl); err != nil {
		t.Skip(err)
	}
	kubeconfig := start(t)
	for _, sockets := range []string{"true", "false"} {
		run := func(stdin string, args ...string) string {
			cmd := exec.CommandContext(t.Context(), *kubectl, append([]string{"--kubeconfig", kubeconfig}, args...)...)
			cmd.Env = append(cmd.Environ(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+sockets, "KUBECTL_PORT_FORWARD_WEBSOCKETS="+sockets)
			cmd.Stdin = strings.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Sprintf("%s%v", out, err)
			}
			return string(out)
		}
		if got := run("", "exec", "p", "--", "ls", "-l"); !strings.Contains(got, "p/main runs ls -l\n") || !strings.Contains(got, "a warning\n") {
			t.Errorf("exec: %q", got)
		}
		if got := run("abc", "exec", "-i", "p", "--", "cat"); !strings.Contains(got, "ABC") {
			t.Errorf("exec -i: %q", got)
		}
		if got := run("", "exec", "p", "--", "false"); !strings.Contains(got, "exit status 3") {
			t.Errorf("exec false: %q", got)
		}
		if got := run("", "exec", "p", "-c", "none", "--", "false"); !strings.Contains(got, "none") {
			t.Errorf("exec -c none: %q", got)
		}
		kubectlForward(t, kubeconfig, sockets)
	}
}

func kubectlForward(t *testing.T, kubeconfig, sockets string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, *kubectl, "--kubeconfig", kubeconfig, "port-forward", "pod/p", ":8080")
	cmd.Env = append(cmd.Environ(), "KUBECTL_PORT_FORWARD_WEBSOCKETS="+sockets)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { cancel(); _ = cmd.Wait() }()
	var port int
	if _, err := fmt.Fscanf(out, "Forwarding from 127.0.0.1:%d -> 8080\n", &port); err != nil {
		t.Errorf("port-forward: %v", err)
		return
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "hi")
	if b, err := io.ReadAll(conn); err != nil || string(b) != "p:8080 hi" {
		t.Errorf("port-forward: %q, %v", b, err)
	}
}

func TestProxies(t *testing.T) {
	kubeconfig := start(t)
	cfg, _ := load(t, kubeconfig)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/there?x=1", http.StatusFound)
			return
		}
		if r.URL.Path == "/page" {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			io.WriteString(w, `<A HREF='/x'>x</A><a href="http://`+r.Host+`/y/">y</a><img src="z" alt="/z">`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s auth=%q", r.Method, r.URL.RequestURI(), body, r.Header.Get("Authorization"))
	}))
	defer backend.Close()
	port := backend.Listener.Addr().(*net.TCPAddr).Port
	hc, err := rest.HTTPClientFor(cfg)
	must(t, err)
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	pod := fmt.Sprintf("/api/v1/namespaces/default/pods/p:%d/proxy", port)
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", pod, "", "301 " + pod + "/"},
		{"GET", pod + "/", "", `200 GET /  auth=""`},
		{"POST", pod + "/a%2Fb//c/?q=1", "text", `200 POST /a%2Fb//c/?q=1 text auth=""`},
		{"PATCH", pod + "/x", "text", `200 PATCH /x text auth=""`},
		{"PUT", pod + "/x", "text", `200 PUT /x text auth=""`},
		{"DELETE", pod + "/x", "", `200 DELETE /x  auth=""`},
		{"OPTIONS", pod + "/x", "", `200 OPTIONS /x  auth=""`},
		{"OPTIONS", "/api/v1/namespaces/default/pods/p/log", "", "405"},
		{"TRACE", pod + "/x", "", "405"},
		{"GET", pod + "/page", "", fmt.Sprintf(`200 <a href="%s/x">x</A><a href="http://%s%s/y/">y</a><img src="z" alt="/z">`, pod, strings.TrimPrefix(cfg.Host, "https://"), pod)},
		{"GET", pod + "/away", "", "302 " + pod + "/there?x=1"},
		{"GET", "/api/v1/nodes/n1/proxy/healthz?a=b", "", "200 GET /healthz?a=b"},
		{"GET", "/api/v1/nodes/none/proxy/healthz", "", "404"},
		{"GET", "/api/v1/namespaces/default/services/none:9/proxy/x", "", "404"},
		{"GET", "/api/v1/namespaces/default/pods/p/exec?command=x&stdout=true", "", "400"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, cfg.Host+tc.path, strings.NewReader(tc.body))
		must(t, err)
		req.Header.Set("Authorization", "")
		resp, err := hc.Do(req)
		must(t, err)
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if allow := resp.Header.Get("Access-Control-Allow-Origin"); allow != "" {
			t.Errorf("%s %s: other origins are allowed: %s", tc.method, tc.path, allow)
		}
		got := fmt.Sprintf("%d %s", resp.StatusCode, b)
		if l := resp.Header.Get("Location"); l != "" {
			got = fmt.Sprintf("%d %s", resp.StatusCode, l)
		}
		if got != tc.want && (len(tc.want) > 3 || !strings.HasPrefix(got, tc.want)) {
			t.Errorf("%s %s: %s, want %s", tc.method, tc.path, got, tc.want)
		}
	}
}
