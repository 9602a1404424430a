package apiserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// kubeletPort is the port of kubelets that tell none.
const kubeletPort = 10250

// newKubeletTransport returns the transport for requests to kubelets.
func newKubeletTransport(cfg KubeletConfig) *http.Transport {
	t := &http.Transport{
		DialContext:           cfg.Dial,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableKeepAlives:     true,
	}
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if cfg.TLS != nil {
		t.TLSClientConfig = cfg.TLS.Clone()
	} else {
		//nolint:gosec // documented in KubeletConfig: without authorities nothing can be verified
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	}
	return t
}

// log passes pods/NAME/log on to the kubelet that runs the pod.
func (c *call) log() error {
	if c.rq.res.gvr != podsResource {
		return c.rq.noSubresource()
	}
	f, err := c.server.get(c.r.Context(), c.rq, "")
	if err != nil {
		return err
	}
	obj, err := f.object()
	if err != nil {
		return err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return c.rq.noSubresource()
	}
	container, err := logContainer(pod, c.values().Get("container"))
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		// Nothing has been logged yet, as in Kubernetes.
		c.text(http.StatusOK, "")
		return nil
	}
	ctx := c.r.Context()
	if stop, ok := ctx.Value(servingKey{}).(context.Context); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
	}
	host, err := c.server.kubeletAddress(ctx, pod.Spec.NodeName)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	query.Del("container")
	u := url.URL{
		Scheme: "https", Host: host, RawQuery: query.Encode(),
		Path: "/containerLogs/" + pod.Namespace + "/" + pod.Name + "/" + container,
	}
	return c.relay(ctx, &u)
}

// logContainer chooses the container whose log is asked for.
func logContainer(pod *corev1.Pod, name string) (string, error) {
	var names, inits []string
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	if name == "" {
		switch {
		case len(names) == 1:
			return names[0], nil
		case pod.Annotations["kubectl.kubernetes.io/default-container"] != "":
			name = pod.Annotations["kubectl.kubernetes.io/default-container"]
		case len(inits) > 0:
			return "", badRequest("a container name must be specified for pod %s, choose one of: [%s] or one of the init containers: [%s]",
				pod.Name, strings.Join(names, " "), strings.Join(inits, " "))
		default:
			return "", badRequest("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(names, " "))
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		inits = append(inits, pod.Spec.EphemeralContainers[i].Name)
	}
	for _, n := range append(names, inits...) {
		if n == name {
			return name, nil
		}
	}
	return "", badRequest("container %s is not valid for pod %s", name, pod.Name)
}

// kubeletAddress returns the host and port of a node's kubelet.
func (s *Server) kubeletAddress(ctx context.Context, nodeName string) (string, error) {
	obj, ok, err := s.lookupRef(ctx, client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("nodes"), Name: nodeName})
	if err != nil {
		return "", err
	}
	node, isNode := obj.(*corev1.Node)
	if !ok || !isNode {
		return "", apierrors.NewNotFound(corev1.Resource("nodes"), nodeName)
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = kubeletPort
	}
	for _, typ := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName} {
		for _, a := range node.Status.Addresses {
			if a.Type == typ && a.Address != "" {
				return net.JoinHostPort(a.Address, strconv.Itoa(port)), nil
			}
		}
	}
	return "", apierrors.NewInternalError(fmt.Errorf("no preferred addresses found for node %q; known addresses: %v", nodeName, node.Status.Addresses))
}

// relay streams what a kubelet answers.
func (c *call) relay(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	// A transport for each request: they are few, and an idle connection would outlive the server.
	transport := newKubeletTransport(c.server.cfg.Kubelet)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("Get %q: %w", u, err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // whatever there is to tell
		return kubeletError(resp.StatusCode, strings.TrimSpace(string(text)))
	}
	if isWebSocket(c.r) {
		c.sendMessages(resp.Body, cancel)
		return nil
	}
	c.started, c.code = true, http.StatusOK
	c.w.Header().Set("Content-Type", "text/plain")
	c.w.WriteHeader(http.StatusOK)
	copyFlushing(c.w, resp.Body)
	return nil
}

func kubeletError(code int, text string) error {
	reason := metav1.StatusReasonInternalError
	switch code {
	case http.StatusBadRequest:
		reason = metav1.StatusReasonBadRequest
	case http.StatusNotFound:
		reason = metav1.StatusReasonNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		code = http.StatusInternalServerError
		text = "the kubelet refused the API server: " + text
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: text,
	}}
}

// copyFlushing copies a stream and sends on each piece as it comes.
func copyFlushing(w http.ResponseWriter, r io.Reader) {
	rc := http.NewResponseController(w)
	_ = rc.Flush() // errors show on the next write
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = rc.Flush()
		}
		if err != nil {
			return
		}
	}
}
