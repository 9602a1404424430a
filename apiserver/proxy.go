package apiserver

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// proxy passes the request on and streams what comes back, also on connections that are upgraded to SPDY
// or WebSockets. Which of them, and which of their protocols, is for the client and the other side to
// agree on: the answer to the upgrade goes back as it is, and clients that get none try the next.
func (c *call) proxy(to *destination, conn *connection) error {
	if c.needsSlash(to, conn) {
		http.Redirect(c.handOver(), c.r, c.r.URL.Path+"/", http.StatusMovedPermanently)
		return nil
	}
	ctx, done := c.stopped()
	defer done()
	cfg := c.server.cfg.Kubelet
	if !to.kubelet {
		cfg.TLS = nil // the API server's certificate is for kubelets
	}
	transport := newKubeletTransport(cfg)
	transport.ResponseHeaderTimeout = 0
	defer transport.CloseIdleConnections()
	var failed error
	w := c.handOver()
	back := c.proxied(to)
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL = &to.url // the Host header stays what the client calls this server
			r.SetXForwarded()
			withoutCredentials(r.Out.Header)
		},
		Transport:     transport,
		FlushInterval: -1,
		ModifyResponse: func(resp *http.Response) error {
			if conn.upgrade {
				return nil
			}
			return back.answer(resp)
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	p.ServeHTTP(w, c.r.WithContext(ctx))
	if failed == nil {
		return nil
	}
	c.started = false
	if to.kubelet {
		return apierrors.NewInternalError(fmt.Errorf("error dialing backend: %w", failed))
	}
	return apierrors.NewServiceUnavailable(fmt.Sprintf("error trying to reach service: %v", failed))
}

// needsSlash tells that the client should ask for "proxy/" instead, so that relative links work.
func (c *call) needsSlash(to *destination, conn *connection) bool {
	isRead := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	return !conn.upgrade && isRead && to.url.Path == "/" && !strings.HasSuffix(c.r.URL.Path, "/") && !isUpgrade(c.r)
}

// withoutCredentials removes what is between the client and this server.
func withoutCredentials(h http.Header) {
	h.Del("Authorization")
	for name := range h {
		if strings.HasPrefix(name, "Impersonate-") || strings.HasPrefix(name, "X-Remote-") {
			h.Del(name)
		}
	}
}

// proxied tells where this proxy is, for answers that lead through it again.
func (c *call) proxied(to *destination) proxied {
	suffix := to.url.Path
	if strings.HasSuffix(c.r.URL.Path, "/") && !strings.HasSuffix(suffix, "/") {
		suffix += "/"
	}
	return proxied{prefix: strings.TrimSuffix(c.r.URL.Path, suffix), host: c.r.Host, backend: to.url.Host}
}
