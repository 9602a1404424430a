package apiserver

import (
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// admitConnection asks admission about a connection, whose options it may change.
func (c *call) admitConnection(conn *connection) error {
	opts := c.connectOptions(conn)
	opts.GetObjectKind().SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(conn.kind))
	ar := &AdmissionRequest{Operation: Connect, Body: opts}
	if err := c.server.admit(c.r.Context(), c.rq, ar); err != nil {
		return err
	}
	if _, err := c.server.validateAdmission(c.r.Context(), c.rq, ar); err != nil {
		return err
	}
	if ar.replaced {
		c.setConnectOptions(opts)
	}
	return nil
}

// connectOptions returns the options of a connection, which are the request's query and for proxies the rest of its
// path.
func (c *call) connectOptions(conn *connection) runtime.Object {
	q := c.r.URL.Query()
	switch conn.kind {
	case "PodExecOptions":
		return &corev1.PodExecOptions{Stdin: isTrue(q, "stdin"), Stdout: isTrue(q, "stdout"), Stderr: isTrue(q, "stderr"),
			TTY: isTrue(q, "tty"), Container: q.Get("container"), Command: q["command"]}
	case "PodAttachOptions":
		return &corev1.PodAttachOptions{Stdin: isTrue(q, "stdin"), Stdout: isTrue(q, "stdout"), Stderr: isTrue(q, "stderr"),
			TTY: isTrue(q, "tty"), Container: q.Get("container")}
	case "PodPortForwardOptions":
		return &corev1.PodPortForwardOptions{Ports: portNumbers(q["ports"])}
	}
	var rest url.URL
	_ = c.rest(&rest) // an escape that is wrong fails the connection itself
	path := rest.Path
	if path == "/" && !strings.HasSuffix(c.r.URL.Path, "/") {
		path = ""
	}
	switch conn.kind {
	case "ServiceProxyOptions":
		return &corev1.ServiceProxyOptions{Path: path}
	case "NodeProxyOptions":
		return &corev1.NodeProxyOptions{Path: path}
	}
	return &corev1.PodProxyOptions{Path: path}
}

// setConnectOptions makes the request one with other options. The path of a proxy stays.
func (c *call) setConnectOptions(opts runtime.Object) {
	q := url.Values{}
	streams := func(stdin, stdout, stderr, tty bool, container string) {
		for name, on := range map[string]bool{"stdin": stdin, "stdout": stdout, "stderr": stderr, "tty": tty} {
			if on {
				q.Set(name, "true")
			}
		}
		if container != "" {
			q.Set("container", container)
		}
	}
	switch o := opts.(type) {
	case *corev1.PodExecOptions:
		streams(o.Stdin, o.Stdout, o.Stderr, o.TTY, o.Container)
		q["command"] = o.Command
	case *corev1.PodAttachOptions:
		streams(o.Stdin, o.Stdout, o.Stderr, o.TTY, o.Container)
	case *corev1.PodPortForwardOptions:
		q["ports"] = portTexts(o.Ports)
	default:
		return
	}
	own := *c.r.URL
	own.RawQuery = q.Encode()
	c.r = c.r.Clone(c.r.Context())
	c.r.URL = &own
}

func portNumbers(texts []string) []int32 {
	var out []int32
	for _, text := range texts {
		for _, part := range strings.Split(text, ",") {
			if n, err := strconv.ParseInt(part, 10, 32); err == nil {
				out = append(out, int32(n))
			}
		}
	}
	return out
}

func portTexts(ports []int32) []string {
	var out []string
	for _, p := range ports {
		out = append(out, strconv.Itoa(int(p)))
	}
	return out
}
