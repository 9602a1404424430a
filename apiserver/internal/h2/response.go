package h2

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// response is the http.ResponseWriter of a stream. Its methods are called by the handler.
type response struct {
	st     *stream
	header http.Header
	head   bool

	code  int // 0 until WriteHeader
	later http.Header
	// sent tells that the headers are; later has them until then.
	sent     bool
	declared int64 // the length that the headers tell, -1 when they don't
	written  int64
	trailers []string
	buf      []byte // of the body, not sent yet
}

// bufferSize is how much of a body is kept back: one that is whole by then gets its length told.
const bufferSize = 4 << 10

func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header, 8)
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter.
func (r *response) WriteHeader(code int) {
	c := r.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r.writeHeader(code)
}

func (r *response) writeHeader(code int) {
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("h2: invalid status code %d", code))
	}
	if r.code != 0 {
		return
	}
	st := r.st
	if code < 200 {
		if code != http.StatusSwitchingProtocols && st.err == nil {
			st.c.appendHeaders(st, code, r.header, false)
			st.c.flush()
		}
		return
	}
	r.code = code
	r.trailers = announcedTrailers(r.header)
	if v := r.header["Content-Length"]; len(v) > 0 {
		n, err := strconv.ParseUint(v[0], 10, 63)
		if err != nil || len(v) > 1 && v[1] != v[0] {
			delete(r.header, "Content-Length")
		} else {
			r.declared = int64(n)
		}
	}
	if r.declared >= 0 && (r.header["Content-Type"] != nil || !bodyAllowed(code)) {
		r.sendHeaders(r.header, r.declared == 0)
		return
	}
	r.later = r.header.Clone()
}

// hasBody tells whether bytes follow the headers.
func (r *response) hasBody() bool { return !r.head && bodyAllowed(r.code) }

func bodyAllowed(code int) bool {
	return code != http.StatusNoContent && code != http.StatusNotModified
}

// sendHeaders puts the headers into the connection's buffer; empty tells that no body follows.
func (r *response) sendHeaders(header http.Header, empty bool) {
	r.sent, r.later = true, nil
	if r.st.err != nil || r.st.tooLate() {
		return
	}
	end := !r.hasBody() || empty && len(r.trailers) == 0
	r.st.c.appendHeaders(r.st, r.code, header, end)
	r.st.sendEnded = end
	if v := header["Connection"]; len(v) > 0 && strings.EqualFold(v[0], "close") {
		go r.st.c.leave()
	}
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	c := r.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.code == 0 {
		r.writeHeader(http.StatusOK)
	}
	switch {
	case r.st.err != nil:
		return 0, r.st.err
	case !bodyAllowed(r.code):
		return 0, http.ErrBodyNotAllowed
	case r.declared >= 0 && r.written+int64(len(p)) > r.declared:
		return 0, http.ErrContentLength
	}
	if len(p) == 0 {
		return 0, nil
	}
	r.written += int64(len(p))
	switch {
	case r.head:
		if !r.sent { // what it is, and its length, are told
			r.buf = append(r.buf, p[:min(len(p), bufferSize-len(r.buf))]...)
		}
		return len(p), nil
	case len(r.buf)+len(p) <= bufferSize && r.written != r.declared:
		r.buf = append(r.buf, p...)
		return len(p), nil
	}
	if !r.sent {
		r.whole(p, false)
	}
	if err := r.sendBuffer(); err != nil {
		return 0, err
	}
	if err := r.st.sendData(p, r.written == r.declared && len(r.trailers) == 0); err != nil {
		return 0, err
	}
	c.flush()
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (r *response) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// whole sends the headers that waited for the body's beginning: what is in the buffer, and p. Done tells that nothing
// follows.
func (r *response) whole(p []byte, done bool) {
	header, begin := r.later, append(r.buf[:len(r.buf):len(r.buf)], p...)
	if header == nil {
		header = http.Header{}
	}
	if bodyAllowed(r.code) {
		if done && r.declared < 0 && (!r.head || r.written > 0 && r.written <= bufferSize) {
			header["Content-Length"] = []string{strconv.Itoa(len(begin))}
		}
		if len(begin) > 0 && header["Content-Type"] == nil && header["Content-Encoding"] == nil {
			header["Content-Type"] = []string{http.DetectContentType(begin)}
		}
	}
	r.sendHeaders(header, done && len(begin) == 0)
}

func (r *response) sendBuffer() error {
	if len(r.buf) == 0 || r.head {
		return nil
	}
	b := r.buf
	r.buf = nil
	return r.st.sendData(b, false)
}

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError sends what there is.
func (r *response) FlushError() error {
	c := r.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.code == 0 {
		r.writeHeader(http.StatusOK)
	}
	if !r.sent {
		r.whole(nil, false)
	}
	err := r.sendBuffer()
	c.flush()
	if err == nil {
		err = r.st.err
	}
	return err
}

// finish ends the answer when the handler has returned. It is called with mu held.
func (r *response) finish() {
	st := r.st
	if r.code == 0 {
		r.writeHeader(http.StatusOK)
	}
	if !r.sent {
		r.whole(nil, true)
	}
	if st.sendEnded || st.err != nil {
		return
	}
	r.trailers = append(r.trailers, prefixedTrailers(r.header)...)
	if b := r.buf; len(b) > 0 || len(r.trailers) == 0 {
		r.buf = nil
		if st.sendData(b, len(r.trailers) == 0) != nil || st.sendEnded {
			return
		}
	}
	trailer := http.Header{}
	for _, key := range r.trailers {
		if v := r.header[key]; v != nil {
			trailer[strings.TrimPrefix(key, http.TrailerPrefix)] = v
		}
	}
	st.c.appendTrailers(st, trailer)
	st.sendEnded = true
}

// SetReadDeadline and SetWriteDeadline are for http.ResponseController.
func (r *response) SetReadDeadline(t time.Time) error {
	r.setDeadline(&r.st.readBy, t)
	return nil
}

// SetWriteDeadline sets until when what is written must have been taken.
func (r *response) SetWriteDeadline(t time.Time) error {
	r.setDeadline(&r.st.writeBy, t)
	return nil
}

// EnableFullDuplex is for http.ResponseController: it is always so.
func (r *response) EnableFullDuplex() error { return nil }

func (r *response) setDeadline(to *time.Time, t time.Time) {
	c := r.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = t
	if r.st.waits > 0 || c.waits > 0 { // somebody else's, in this request
		r.st.cond.Broadcast()
		c.room.Broadcast()
	}
}

func announcedTrailers(header http.Header) []string {
	if header["Trailer"] == nil {
		return nil
	}
	var keys []string
	for _, line := range header["Trailer"] {
		for _, key := range strings.Split(line, ",") {
			keys = append(keys, http.CanonicalHeaderKey(strings.TrimSpace(key)))
		}
	}
	return keys
}

func prefixedTrailers(header http.Header) []string {
	var keys []string
	for key := range header {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// appendHeaders puts a block of headers into out. It is called with mu held.
func (c *conn) appendHeaders(st *stream, code int, header http.Header, end bool) {
	c.encoded.Reset()
	c.field(":status", statusText(code))
	length := ""
	for key, values := range header {
		if key == "Content-Length" {
			length = values[0]
			continue
		}
		if !strings.HasPrefix(key, http.TrailerPrefix) {
			c.fields(key, values)
		}
	}
	if _, ok := header["Date"]; !ok && code >= 200 {
		c.field("date", date())
	}
	if length != "" && len(length) < 127 {
		// A literal without indexing of entry 28 of the static table: it would only drive others out of the table.
		c.encoded.Write([]byte{0x0f, 28 - 15, byte(len(length))})
		c.encoded.WriteString(length)
	}
	c.appendBlock(st.id, end)
}

func (c *conn) appendTrailers(st *stream, trailer http.Header) {
	c.encoded.Reset()
	for key, values := range trailer {
		c.fields(key, values)
	}
	c.appendBlock(st.id, true)
}

func (c *conn) fields(key string, values []string) {
	name := lower(key)
	if !validName(name) || connectionSpecific(name, "trailers") {
		return
	}
	for _, v := range values {
		if validValue(v) {
			c.field(name, v)
		}
	}
}

func (c *conn) field(name, value string) {
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // it writes to memory
}

// appendBlock puts the encoded headers into frames.
func (c *conn) appendBlock(id uint32, end bool) {
	block, typ := c.encoded.Bytes(), byte(frameHeaders)
	for {
		n, flags := min(len(block), c.maxFrame), byte(0)
		if end && typ == frameHeaders {
			flags |= flagEndStream
		}
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.out = append(appendFrame(c.out, n, typ, flags, id), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return
		}
		typ = frameContinuation
	}
}

var lowerNames = func() map[string]string {
	names := map[string]string{}
	for low, name := range commonNames {
		names[name] = low
	}
	return names
}()

func lower(key string) string {
	if n, ok := lowerNames[key]; ok {
		return n
	}
	return strings.ToLower(key)
}

func statusText(code int) string {
	switch code {
	case http.StatusOK:
		return "200"
	case http.StatusCreated:
		return "201"
	case http.StatusNotFound:
		return "404"
	case http.StatusConflict:
		return "409"
	}
	return strconv.Itoa(code)
}

// dateText is the time in the form of a Date header, made once a second.
type dateText struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dateText]

func date() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
