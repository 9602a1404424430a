package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// Handler returns the server as an http.Handler that serves the API at the root of a host. Client
// certificates count when the connection's TLS configuration verified them (see pki and Serve).
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.ServeHTTP) }

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	growStack()
	c := &call{server: s, w: w, r: r, began: time.Now()}
	defer c.ended()
	defer c.recoverPanic()
	w.Header().Set("Audit-Id", auditID(r))
	id, err := s.authenticate(r)
	if err != nil {
		c.fail(err)
		return
	}
	if c.user, err = s.impersonate(r, id); err != nil {
		c.fail(err)
		return
	}
	t, ok := parsePath(r.URL.Path)
	if !ok {
		c.other()
		return
	}
	c.target = t
	c.query = r.URL.Query()
	verb := t.verbOf(r.Method, c.query)
	c.describe(verb)
	c.run(func() { c.resource(verb) })
}

// maxAuditID bounds an identifier that a client chose, as kube-apiserver does.
const maxAuditID = 64

// auditID returns what identifies a request in the logs of client and server: the client's own word for it or a new
// one. It goes with the answer.
func auditID(r *http.Request) string {
	id := r.Header.Get("Audit-Id")
	if id == "" {
		return string(uuid.NewUUID())
	}
	return id[:min(len(id), maxAuditID)]
}

// call is one HTTP request on its way to the pipeline and back.
type call struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	user    *Identity
	target  target
	query   map[string][]string
	rq      *request
	format  format
	started bool
	warned  warnings

	// info, flow and the rest are for flow control and metrics, see observe.go.
	info  RequestInfo
	flow  Flow
	began time.Time
	// running tells that the request was begun.
	running bool
	code    int
	size    int64
}

// recoverPanic turns a panic into one 500, or breaks the connection when the answer has begun.
func (c *call) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	c.server.cfg.Logger.Error("a request panicked", "panic", p, "path", c.r.URL.Path, "stack", string(debug.Stack()))
	if c.started {
		panic(http.ErrAbortHandler)
	}
	c.fail(apierrors.NewInternalError(fmt.Errorf("the request panicked: %v", p)))
}

// resource serves a request for a resource.
func (c *call) resource(verb string) {
	ref := c.target.ref
	if remote, err := c.server.remote(c.r.Context(), ref.GroupVersion()); err != nil {
		c.fail(err)
		return
	} else if remote {
		c.aggregatedResource(verb)
		return
	}
	rq, err := c.server.beginWith(c.r.Context(), c.user, verb, ref, c.selectors(verb))
	if apierrors.IsNotFound(err) && verb == verbList && ref.GroupVersionResource == customResources {
		c.noCustomResources()
		return
	}
	if apierrors.IsNotFound(err) && !c.server.catalog.Load().table.hasGroup(ref.Group) {
		c.noPage()
		return
	}
	if apierrors.IsMethodNotSupported(err) {
		err = nil // route tells it from a path that leads nowhere
	}
	if err != nil {
		c.fail(err)
		return
	}
	rq.warn, rq.heard = c.warn, true
	rq.agent = agentName(c.r.UserAgent())
	c.rq = rq
	if rq.served().Custom != nil {
		c.warn(rq.served().Deprecated) // even when the path leads nowhere
	}
	err = c.route()
	if err == nil {
		c.warn(rq.served().Deprecated)
		err = c.checkTimeout()
	}
	if err != nil {
		c.fail(err)
		return
	}
	if conn := c.connection(); conn != nil {
		if err := c.connect(conn, verb); err != nil {
			c.fail(err)
		}
		return
	}
	if err := c.verbs()[verb](); err != nil {
		c.fail(err)
	}
}

// selectors returns those of the request's options, as far as they say what it may see or change.
func (c *call) selectors(verb string) selectors {
	switch verb {
	case verbList, verbWatch, verbDeleteCollection:
		query := url.Values(c.query)
		return selectors{query.Get("fieldSelector"), query.Get("labelSelector")}
	}
	return selectors{}
}

func (c *call) verbs() map[string]func() error {
	return map[string]func() error{
		verbGet: c.get, verbList: c.list, verbWatch: c.watch, verbCreate: c.create, verbUpdate: c.update,
		verbPatch: c.patch, verbDelete: c.delete, verbDeleteCollection: c.deleteCollection,
	}
}

// warn adds a Warning header, once for each text.
func (c *call) warn(text string) {
	if !c.started {
		c.warned.add(c.w.Header(), text)
	}
}

// fail answers with a Status.
func (c *call) fail(err error) {
	if c.started {
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		// Nobody waits for the answer.
		panic(http.ErrAbortHandler)
	}
	status := asStatus(err).ErrStatus
	if status.Code == 0 {
		status.Code = http.StatusInternalServerError
	}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	media := mediaJSON
	if f, err := negotiate(c.r, false, true, plainForm); err == nil {
		media = f.media
	}
	c.status(int(status.Code), media, &status)
}

// status writes a Status.
func (c *call) status(code int, media string, status *metav1.Status) {
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	b, err := encodeObject(media, status)
	if err != nil {
		b, media = []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":500}`), mediaJSON
	}
	c.write(code, media, b)
}
