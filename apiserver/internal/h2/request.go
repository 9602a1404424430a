package h2

import (
	"context"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
)

func stack() []byte { return debug.Stack() }

func (c *conn) headersFrame(f *frame) error {
	if f.stream%2 == 0 {
		return connError{codeProtocol, "headers of a stream that is not the client's"}
	}
	if err := f.unpad(); err != nil {
		return err
	}
	done, err := c.headers.begin(f)
	if err != nil || !done {
		return err
	}
	return c.headersDone()
}

// headersDone begins a stream with the headers that have come, or ends its body.
func (c *conn) headersDone() error {
	id, end := c.headers.begun.stream, c.headers.begun.has(flagEndStream)
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		return c.trailersDone(st, end)
	}
	if id <= c.lastStream {
		if end {
			return nil // trailers of a stream that was reset or answered
		}
		return connError{codeClosed, "headers of a stream that is over"}
	}
	c.lastStream = id
	switch {
	case c.leaving || c.err != nil:
		return nil // the client was told that this one is not served
	case len(c.streams) >= maxStreams:
		return streamError{id, codeRefused, "too many streams"}
	case c.handlers >= maxHandlers:
		return connError{codeCalm, "too many streams were reset"}
	}
	st, err := c.newStream(id, end)
	if err != nil {
		return err
	}
	c.streams[id] = st
	c.handlers++
	st.begin()
	return nil
}

func (c *conn) trailersDone(st *stream, end bool) error {
	if st.bodyErr != nil {
		return streamError{st.id, codeClosed, "headers after the end"}
	}
	_, header, wrong := c.headers.read(true)
	if !end {
		wrong = "trailers that do not end the body"
	}
	if wrong != "" {
		return streamError{st.id, codeProtocol, wrong}
	}
	st.trailer = header
	st.ended()
	return nil
}

// newStream makes a stream of the headers that were decoded last.
func (c *conn) newStream(id uint32, end bool) (*stream, error) {
	st := &stream{c: c, id: id, sendLeft: c.initialWindow, recvLeft: streamWindow, large: c.headers.tooLarge}
	st.cond.L = &c.mu
	st.ctx, st.cancel = context.WithCancel(c.ctx)
	st.resp.st, st.resp.declared = st, -1
	if end {
		st.bodyErr = errNoBody
	}
	p, header, wrong := pseudo{method: http.MethodGet, path: "/", scheme: "https"}, http.Header(nil), ""
	if !st.large {
		p, header, wrong = c.headers.read(false)
	}
	var u *url.URL
	if wrong == "" {
		u, wrong = p.url()
	}
	if wrong == "" {
		st.declared, wrong = declaredLength(header, end)
	}
	if wrong != "" {
		st.cancel()
		return nil, streamError{id, codeProtocol, wrong}
	}
	st.newRequest(p, u, header)
	return st, nil
}

// errNoBody marks a body that is not there.
var errNoBody = http.ErrBodyNotAllowed

func (st *stream) newRequest(p pseudo, u *url.URL, header http.Header) {
	r := http.Request{
		Method: p.method, URL: u, RequestURI: p.path, Host: p.authority,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, RemoteAddr: st.c.remote, TLS: st.c.tls,
		Body: http.NoBody,
	}
	if st.bodyErr == nil {
		r.Body, r.ContentLength = (*body)(st), st.declared
	}
	if r.Host == "" {
		r.Host = header.Get("Host")
		delete(header, "Host")
	}
	if header["Trailer"] != nil {
		r.Trailer = announced(header)
	}
	if strings.EqualFold(header.Get("Expect"), "100-continue") {
		delete(header, "Expect")
		st.expects = st.bodyErr == nil
	}
	st.resp.head = p.method == http.MethodHead
	st.req = r.WithContext(st.ctx)
}

// url returns what the request is for.
func (p *pseudo) url() (*url.URL, string) {
	switch {
	case p.method == http.MethodConnect:
		return nil, "CONNECT is not served"
	case p.method == "" || p.path == "" || p.scheme != "https" && p.scheme != "http":
		return nil, "a request without method, path or scheme"
	case !validMethod(p.method):
		return nil, "a method that is none"
	}
	if p.path == "*" {
		return &url.URL{Path: "*"}, ""
	}
	u, err := url.ParseRequestURI(p.path)
	if err != nil || p.path[0] != '/' {
		return nil, "a path that is none"
	}
	return u, ""
}

func validMethod(method string) bool {
	for i := range len(method) {
		c := method[i]
		if c >= 'A' && c <= 'Z' {
			continue
		}
		if !validName(strings.ToLower(string(rune(c)))) {
			return false
		}
	}
	return true
}

// declaredLength returns the body's length as the headers tell it, -1 when they don't.
func declaredLength(header http.Header, end bool) (int64, string) {
	values := header["Content-Length"]
	if len(values) == 0 {
		return -1, ""
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	for _, v := range values[1:] {
		if v != values[0] {
			return 0, "two lengths"
		}
	}
	if err != nil || end && n > 0 {
		return 0, "a length that is not the body's"
	}
	return int64(n), ""
}
