package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
)

const (
	// clientTimeout bounds calls of webhooks without a timeout of their own, as kube-apiserver does.
	clientTimeout = 30 * time.Second
	// maxAnswer bounds, in bytes, what a webhook may answer: a patch, in base64, that replaces the largest object.
	maxAnswer = 4 << 20
	userAgent = "kube-apiserver-admission"
)

// calls keeps a client for each way to call a webhook that is configured.
type calls struct {
	cfg   *Config
	codec runtime.NegotiatedSerializer

	mu      sync.Mutex
	clients map[string]*caller
}

// caller is a client and the connections that it keeps.
type caller struct {
	client    *rest.RESTClient
	transport *http.Transport
}

func newCalls(cfg *Config) *calls {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{admissionv1beta1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // the types don't fit the library
		}
	}
	codec := serializer.NewCodecFactory(scheme).LegacyCodec(admissionv1beta1.SchemeGroupVersion, admissionv1.SchemeGroupVersion)
	return &calls{cfg: cfg, clients: map[string]*caller{},
		codec: serializer.NegotiatedSerializerWrapper(runtime.SerializerInfo{Serializer: codec})}
}

// key names a way to call a webhook.
func key(c *admissionregistrationv1.WebhookClientConfig) string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error() // of strings and bytes that does not happen
	}
	return string(b)
}

// client returns the client that calls a webhook.
func (c *calls) client(h *hook) (*rest.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key(&h.ClientConfig)
	if known := c.clients[k]; known != nil {
		return known.client, nil
	}
	made, err := c.newCaller(h)
	if err != nil {
		return nil, err
	}
	c.clients[k] = made
	return made.client, nil
}

// keep lets go of the clients that none of some webhooks needs. Calls under way go on.
func (c *calls) keep(list []*hook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	needed := map[string]bool{}
	for _, h := range list {
		needed[key(&h.ClientConfig)] = true
	}
	for k, known := range c.clients {
		if !needed[k] {
			known.transport.CloseIdleConnections()
			delete(c.clients, k)
		}
	}
}

func (c *calls) close() { c.keep(nil) }

func (c *calls) newCaller(h *hook) (*caller, error) {
	t := &http.Transport{
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 25,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext:     c.cfg.Dial,
	}
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	if c.cfg.Certificate != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*c.cfg.Certificate}
	}
	if len(h.ClientConfig.CABundle) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(h.ClientConfig.CABundle) {
			return nil, errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	cfg := &rest.Config{QPS: -1, ContentConfig: rest.ContentConfig{NegotiatedSerializer: c.codec, ContentType: runtime.ContentTypeJSON}}
	out := &roundTripper{next: t}
	switch {
	case h.ClientConfig.Service != nil:
		c.toService(h.ClientConfig.Service, cfg, t, out)
	case h.ClientConfig.URL != nil && *h.ClientConfig.URL != "":
		if err := toURL(h, cfg, t); err != nil {
			return nil, err
		}
	default:
		return nil, &callError{name: h.Name, reason: errors.New("webhook configuration must have either service or URL")}
	}
	client, err := rest.UnversionedRESTClientForConfigAndClient(cfg, &http.Client{Transport: out, Timeout: clientTimeout})
	return &caller{client, t}, err
}

// toService aims a client at a Service: each call goes to where the Service is served then. It speaks HTTP/1.1, as one
// connection of HTTP/2 would bring all calls to one endpoint.
func (c *calls) toService(s *admissionregistrationv1.ServiceReference, cfg *rest.Config, t *http.Transport, out *roundTripper) {
	port := int32(443)
	if s.Port != nil && *s.Port != 0 {
		port = *s.Port
	}
	name := s.Name + "." + s.Namespace + ".svc"
	t.TLSClientConfig.ServerName, t.TLSClientConfig.NextProtos = name, []string{"http/1.1"}
	out.host = net.JoinHostPort(name, strconv.Itoa(int(port)))
	out.resolve = func(ctx context.Context) (string, error) {
		r, ok := ctx.Value(requestKey{}).(*apiserver.AdmissionRequest)
		if !ok {
			return "", errors.New("no request to resolve the service for")
		}
		return c.cfg.Resolve(ctx, r, s.Namespace, s.Name, port)
	}
	cfg.Host = "https://" + out.host
	if s.Path != nil {
		cfg.APIPath = *s.Path
	}
}

// toURL aims a client at a URL.
func toURL(h *hook, cfg *rest.Config, t *http.Transport) error {
	u, err := url.Parse(*h.ClientConfig.URL)
	if err != nil {
		//lint:ignore ST1005 Kubernetes' words
		return &callError{name: h.Name, reason: fmt.Errorf("Unparsable URL: %w", err)}
	}
	cfg.Host, cfg.APIPath = u.Scheme+"://"+u.Host, u.Path
	if isLocal(u.Hostname()) {
		t.ForceAttemptHTTP2 = true
	} else {
		t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return nil
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// requestKey is the key of the admission request in a call's context.
type requestKey struct{}

// roundTripper finds the endpoints of Services, and bounds what comes back.
type roundTripper struct {
	next http.RoundTripper
	// host is the one that resolve finds an address for.
	host    string
	resolve func(ctx context.Context) (string, error)
}

func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", userAgent)
	if t.resolve != nil && r.URL.Host == t.host {
		address, err := t.resolve(r.Context())
		if err != nil {
			return nil, err
		}
		if r.Host == "" {
			r.Host = r.URL.Host
		}
		r.URL.Host = address
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxAnswer}
	return resp, nil
}

// boundedBody fails when more is read than there may be.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return n, err
}
