package hookclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

const (
	// clientTimeout bounds calls without a deadline of their own.
	clientTimeout = 30 * time.Second
	// userAgent is what kube-apiserver sends to all webhooks.
	userAgent = "kube-apiserver-admission"
)

// client calls a webhook.
type client struct {
	rest *rest.RESTClient
	// end closes all connections, when the client is retired and no call is active; those are guarded by Clients.mu.
	end     context.CancelFunc
	active  int
	retired bool
}

func (k *client) endIfUnused() {
	if k.retired && k.active == 0 {
		k.end()
	}
}

func (c *Clients) newClient(to *Target) (*client, error) {
	life, end := context.WithCancel(context.Background()) // not c.life: calls are to learn that they were ended, not of a lost connection
	k, err := c.newClientFor(life, to)
	if err != nil {
		end()
		return nil, err
	}
	return &client{rest: k, end: end}, nil
}

func (c *Clients) newClientFor(life context.Context, to *Target) (*rest.RESTClient, error) {
	t := &http.Transport{
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 25,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, life, c.cfg.Dial, network, address)
		},
	}
	if c.cfg.Certificate != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*c.cfg.Certificate}
	}
	if len(to.config.CABundle) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(to.config.CABundle) {
			return nil, errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	cfg := &rest.Config{QPS: -1, ContentConfig: rest.ContentConfig{NegotiatedSerializer: c.codec, ContentType: runtime.ContentTypeJSON}}
	out := &roundTripper{next: t, max: c.cfg.MaxAnswer}
	switch {
	case to.config.Service != nil:
		c.toService(to.config.Service, cfg, t, out)
	case to.config.URL != nil && *to.config.URL != "":
		if err := toURL(*to.config.URL, cfg, t); err != nil {
			return nil, fmt.Errorf("failed calling webhook %q: %w", to.name, err)
		}
	default:
		return nil, fmt.Errorf("failed calling webhook %q: webhook configuration must have either service or URL", to.name)
	}
	return rest.UnversionedRESTClientForConfigAndClient(cfg, &http.Client{Transport: out, Timeout: clientTimeout})
}

// conn is a connection that ends, at the latest, with the client that it is for.
type conn struct {
	net.Conn
	stop func() bool
}

func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func dial(ctx, life context.Context, via func(ctx context.Context, network, address string) (net.Conn, error), network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	raw, err := via(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{raw, context.AfterFunc(life, func() { _ = raw.Close() })}, nil
}

// toService aims a client at a Service: each call goes to where the Service is served then. It speaks HTTP/1.1, as one
// connection of HTTP/2 would bring all calls to one endpoint.
func (c *Clients) toService(s *admissionregistrationv1.ServiceReference, cfg *rest.Config, t *http.Transport, out *roundTripper) {
	port := int32(443)
	if s.Port != nil && *s.Port != 0 {
		port = *s.Port
	}
	name := s.Name + "." + s.Namespace + ".svc"
	t.TLSClientConfig.ServerName, t.TLSClientConfig.NextProtos = name, []string{"http/1.1"}
	out.host = net.JoinHostPort(name, strconv.Itoa(int(port)))
	out.resolve = func(ctx context.Context) (string, error) {
		if c.cfg.Resolve == nil {
			return "", fmt.Errorf("the service %s/%s of the webhook can't be reached from here", s.Namespace, s.Name)
		}
		return c.cfg.Resolve(ctx, s.Namespace, s.Name, port)
	}
	cfg.Host = "https://" + out.host
	if s.Path != nil {
		cfg.APIPath = *s.Path
	}
}

// toURL aims a client at a URL.
func toURL(text string, cfg *rest.Config, t *http.Transport) error {
	u, err := url.Parse(text)
	if err != nil {
		//lint:ignore ST1005 Kubernetes' words
		return fmt.Errorf("Unparsable URL: %w", err)
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

// roundTripper finds the endpoints of Services, and bounds what comes back.
type roundTripper struct {
	next http.RoundTripper
	max  int64
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
	resp.Body = &boundedBody{resp.Body, t.max, t.max}
	return resp, nil
}

// boundedBody fails when more is read than there may be.
type boundedBody struct {
	io.ReadCloser
	left, max int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", b.max)
	}
	return n, err
}
