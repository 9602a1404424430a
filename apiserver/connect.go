package apiserver

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// connection is a subresource that connects clients with something behind the API: a container of a pod, a
// port, an HTTP server.
type connection struct {
	name, kind string
	verbs      []string
	// locate returns where the request goes. Upgrade tells that only upgraded connections make sense.
	locate  func(c *call) (*destination, error)
	upgrade bool
}

// destination is where a connection leads.
type destination struct {
	url url.URL
	// kubelet tells that the other side is a kubelet, which knows the server by its certificate.
	kubelet bool
}

var (
	connectVerbs = []string{verbCreate, verbGet}
	proxyVerbs   = []string{verbCreate, verbDelete, verbGet, verbPatch, verbUpdate}
)

// connections returns what a resource can be connected to by.
func (r *resource) connections() []connection {
	switch r.gvr {
	case podsResource:
		return []connection{
			{"attach", "PodAttachOptions", connectVerbs, locateContainer("attach"), true},
			{"exec", "PodExecOptions", connectVerbs, locateContainer("exec"), true},
			{"portforward", "PodPortForwardOptions", connectVerbs, locatePorts, true},
			{"proxy", "PodProxyOptions", proxyVerbs, locatePod, false},
		}
	case servicesResource:
		return []connection{{"proxy", "ServiceProxyOptions", proxyVerbs, locateService, false}}
	case nodesResource:
		return []connection{{"proxy", "NodeProxyOptions", proxyVerbs, locateNode, false}}
	}
	return nil
}

var nodesResource = corev1.SchemeGroupVersion.WithResource("nodes")

// connection returns the connection that the request asks for, nil when it is for something else.
func (c *call) connection() *connection {
	if c.rq.ref.Subresource == "" {
		return nil
	}
	for _, conn := range c.rq.res.connections() {
		if conn.name == c.rq.ref.Subresource {
			return &conn
		}
	}
	return nil
}

// longRunning tells of requests that last as long as the client wants, and don't count as in flight.
func (t *target) longRunning(verb string) bool {
	switch t.ref.Subresource {
	case "log", "exec", "attach", "portforward", "proxy":
		return true
	}
	return verb == verbWatch
}

// connect passes the request on to where a connection leads.
func (c *call) connect(conn *connection, verb string) error {
	upgrade := isUpgrade(c.r)
	if conn.upgrade {
		// Whoever runs things in a container changes it, whatever the method that a WebSocket begins with.
		if verb == verbGet && upgrade {
			create := *c.rq
			create.verb = verbCreate
			if err := c.server.authorize(c.r.Context(), &create); err != nil {
				return err
			}
		}
		if c.r.Method != http.MethodGet && c.r.Method != http.MethodPost {
			return methodNotAllowed()
		}
	}
	if err := c.admitConnection(conn); err != nil {
		return err
	}
	to, err := conn.locate(c)
	if err != nil {
		return err
	}
	if conn.upgrade && !upgrade {
		return badRequest("Upgrade request required")
	}
	return c.proxy(to, conn)
}

// isUpgrade tells that a client wants to speak another protocol on the connection.
func isUpgrade(r *http.Request) bool {
	for _, v := range r.Header.Values("Connection") {
		if strings.Contains(strings.ToLower(v), "upgrade") {
			return true
		}
	}
	return false
}

// hostedPod returns the pod of the request, and the address of the kubelet that runs it.
func (c *call) hostedPod() (*corev1.Pod, error) {
	f, err := c.server.get(c.r.Context(), c.rq, "")
	if err != nil {
		return nil, err
	}
	obj, err := f.object()
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, c.rq.noSubresource()
	}
	return pod, nil
}

// atKubelet returns a path at the kubelet that runs a pod.
func (c *call) atKubelet(pod *corev1.Pod, path string, query url.Values) (*destination, error) {
	if pod.Spec.NodeName == "" {
		return nil, badRequest("pod %s does not have a host assigned", pod.Name)
	}
	host, err := c.server.kubeletAddress(c.r.Context(), pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	return &destination{kubelet: true, url: url.URL{Scheme: "https", Host: host, Path: path, RawQuery: query.Encode()}}, nil
}

// locateContainer leads to a command in a container, new (exec) or running (attach).
func locateContainer(what string) func(*call) (*destination, error) {
	return func(c *call) (*destination, error) {
		pod, err := c.hostedPod()
		if err != nil {
			return nil, err
		}
		asked := c.r.URL.Query()
		container, err := logContainer(pod, asked.Get("container"))
		if err != nil {
			return nil, err
		}
		query := url.Values{}
		for name, kubelets := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
			if isTrue(asked, name) {
				query.Set(kubelets, "1")
			}
		}
		if what == "exec" {
			query["command"] = asked["command"]
		}
		return c.atKubelet(pod, "/"+what+"/"+pod.Namespace+"/"+pod.Name+"/"+container, query)
	}
}

// locatePorts leads to ports of a pod.
func locatePorts(c *call) (*destination, error) {
	pod, err := c.hostedPod()
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if ports := c.r.URL.Query()["ports"]; len(ports) > 0 {
		query.Set("port", strings.Join(ports, ","))
	}
	return c.atKubelet(pod, "/portForward/"+pod.Namespace+"/"+pod.Name, query)
}

// splitName reads the name in the URL of a proxy, SCHEME:NAME:PORT, where all but the name may be missing.
func (c *call) splitName() (scheme, name, port string, err error) {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(c.rq.ref.Name)
	if !ok {
		return "", "", "", badRequest("invalid %s request %q", strings.TrimSuffix(c.rq.ref.Resource, "s"), c.rq.ref.Name)
	}
	return scheme, name, port, nil
}

// find reads the object that a proxy's URL names.
func (c *call) find(name string) (any, error) {
	named := *c.rq
	named.ref.Name = name
	f, err := c.server.get(c.r.Context(), &named, "")
	if err != nil {
		return nil, err
	}
	return f.object()
}

// locatePod leads to an HTTP server in a pod, at the port named or the first one declared.
func locatePod(c *call) (*destination, error) {
	scheme, name, port, err := c.splitName()
	if err != nil {
		return nil, err
	}
	obj, err := c.find(name)
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, c.rq.noSubresource()
	}
	for i := 0; port == "" && i < len(pod.Spec.Containers); i++ {
		if ports := pod.Spec.Containers[i].Ports; len(ports) > 0 {
			port = strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	if pod.Status.PodIP == "" {
		return nil, badRequest("address not allowed")
	}
	return c.at(scheme, pod.Status.PodIP, port)
}

// at leads to a host; without a port, to the scheme's own.
func (c *call) at(scheme, host, port string) (*destination, error) {
	if ip := net.ParseIP(host); ip != nil && (ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsInterfaceLocalMulticast()) {
		return nil, badRequest("address not allowed")
	}
	u := url.URL{Scheme: cmp.Or(scheme, "http"), Host: host, RawQuery: c.r.URL.RawQuery}
	if port != "" {
		u.Host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	if err := c.rest(&u); err != nil {
		return nil, err
	}
	return &destination{url: u}, nil
}

// rest adds the part of the path that is behind the subresource, as the client escaped it.
func (c *call) rest(u *url.URL) error {
	before := 6 // api/v1/namespaces/NAMESPACE/RESOURCE/NAME
	if !c.rq.res.Namespaced {
		before = 4
	}
	parts := strings.SplitN(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/", before+2)
	path := "/"
	if len(parts) > before+1 {
		path += parts[before+1]
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return badRequest("%v", err)
	}
	u.Path, u.RawPath = decoded, path
	return nil
}

// locateNode leads to an HTTP server on a node, by default its kubelet.
func locateNode(c *call) (*destination, error) {
	scheme, name, port, err := c.splitName()
	if err != nil {
		return nil, err
	}
	address, err := c.server.kubeletAddress(c.r.Context(), name)
	if err != nil {
		return nil, err
	}
	host, own, err := net.SplitHostPort(address)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	isKubelet := port == "" || port == own
	if isKubelet {
		scheme, port = "https", own
	}
	to, err := c.at(scheme, host, port)
	if err != nil {
		return nil, err
	}
	to.kubelet = isKubelet
	return to, nil
}

// stopped returns a context that ends with the request and with Serve.
func (c *call) stopped() (context.Context, func()) {
	ctx, cancel := context.WithCancel(c.r.Context())
	if stop, ok := ctx.Value(servingKey{}).(context.Context); ok {
		forget := context.AfterFunc(stop, cancel)
		return ctx, func() { forget(); cancel() }
	}
	return ctx, cancel
}
