package aggregate

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
)

// discoveryTimeout bounds requests by which clients find out what there is: one server that hangs must not hold all
// of them up.
const discoveryTimeout = 5 * time.Second

// Proxy passes a request on to the server of a group and version, in the name of a user, who may make it. What comes
// back is streamed; connections may be upgraded.
func (a *Aggregator) Proxy(w http.ResponseWriter, r *http.Request, user *apiserver.Identity, gv schema.GroupVersion) {
	e, err := a.entry(r.Context(), serviceName(gv.Group, gv.Version))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	case e == nil || e.target == nil: // it went a moment ago
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	case !isAvailable(e.APIService):
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	if isDiscovery(r.URL.Path) {
		ctx, cancel := context.WithTimeout(r.Context(), discoveryTimeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	a.pass(w, r, user, e)
}

// isDiscovery tells /apis/GROUP/VERSION from what is below it.
func isDiscovery(path string) bool { return strings.Count(strings.Trim(path, "/"), "/") == 2 }

// pass sends a request to an APIService's server and its answer back.
func (a *Aggregator) pass(w http.ResponseWriter, r *http.Request, user *apiserver.Identity, e *entry) {
	if e.target.err != nil {
		http.Error(w, e.target.err.Error(), http.StatusInternalServerError)
		return
	}
	ref := e.Spec.Service
	to, err := a.cfg.Resolver.Resolve(r.Context(), ref.Namespace, ref.Name, *ref.Port)
	if err != nil {
		a.cfg.Logger.Warn("an API service can't be found", "name", e.Name, "error", err)
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = to.Scheme, to.Host, to.Host
			p.SetXForwarded()
			p.Out.Header.Set("X-Forwarded-Uri", p.In.URL.EscapedPath())
			setUser(p.Out.Header, user)
		},
		Transport:     e.target.transport(r),
		FlushInterval: -1,
		ErrorLog:      log.New(quiet{a}, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := apierrors.NewServiceUnavailable(fmt.Sprintf("error trying to reach service: %v", err))
			http.Error(w, status.Error(), http.StatusServiceUnavailable)
		},
	}
	p.ServeHTTP(w, r)
}

func (t *target) transport(r *http.Request) http.RoundTripper {
	if r.Header.Get("Upgrade") != "" {
		return t.upgrade
	}
	return t.plain
}

// quiet keeps what the reverse proxy has to say about clients that go away.
type quiet struct{ a *Aggregator }

func (q quiet) Write(b []byte) (int, error) {
	q.a.cfg.Logger.Debug("aggregation", "message", strings.TrimSpace(string(b)))
	return len(b), nil
}

// The headers in which other servers are told of the user, see
// https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#authentication-flow.
const (
	remoteUser  = "X-Remote-User"
	remoteUID   = "X-Remote-Uid"
	remoteGroup = "X-Remote-Group"
	remoteExtra = "X-Remote-Extra-"
)

// setUser tells of the user, and of nobody else: credentials are between the client and this server, and what clients
// say about users in these headers is not to be believed.
func setUser(h http.Header, user *apiserver.Identity) {
	for name := range h {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case canonical == "Authorization", canonical == remoteUser, canonical == remoteUID, canonical == remoteGroup,
			strings.HasPrefix(canonical, remoteExtra), strings.HasPrefix(canonical, "Impersonate-"):
			delete(h, name)
		}
	}
	h.Set(remoteUser, user.User)
	if user.UID != "" {
		h.Set(remoteUID, user.UID)
	}
	for _, g := range user.Groups {
		h.Add(remoteGroup, g)
	}
	for key, values := range user.Extra {
		for _, v := range values {
			h.Add(remoteExtra+escapeKey(key), v)
		}
	}
}

// escapeKey percent-encodes what header names can't have.
func escapeKey(key string) string {
	var out strings.Builder
	for i := range len(key) {
		if c := key[i]; c == '%' || !isToken(c) {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// isToken tells of the characters of header names, RFC 9110 section 5.6.2.
func isToken(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
