package h2

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// stream is a request and its answer. What is shared is guarded by the connection's mu.
type stream struct {
	c      *conn
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc
	req    *http.Request
	resp   response
	large  bool // its headers are

	err       error // why it ended: reset, or the connection has
	started   bool  // its handler has
	late      *time.Timer
	cond      sync.Cond
	waits     int
	readBy    time.Time
	writeBy   time.Time
	sendLeft  int64
	sendEnded bool

	// What came of the body and was not read yet; bodyErr tells how it ended.
	body               []byte
	bodyErr            error
	bodyClosed         bool
	declared, received int64 // declared is -1 when the length is not known
	recvLeft, recvRead int
	expects            bool // that it is told to go on
	trailer            http.Header
}

// smallBody is up to which declared length a body is waited for before its handler starts, bodyPatience how long.
const (
	smallBody    = 64 << 10
	bodyPatience = 5 * time.Millisecond
)

// begin starts the handler, or lets it wait for a small body, which most often is on its way: a handler that waits
// for it by itself costs two switches. It is called with mu held.
func (st *stream) begin() {
	if st.bodyErr == nil && st.declared > 0 && st.declared <= smallBody && !st.expects {
		st.late = time.AfterFunc(bodyPatience, func() {
			st.c.mu.Lock()
			defer st.c.mu.Unlock()
			st.start()
		})
		return
	}
	st.start()
}

func (st *stream) start() {
	if st.started || st.err != nil {
		return
	}
	if st.started = true; st.late != nil {
		st.late.Stop()
	}
	st.c.server.workers.run(st)
}

// end tells all who wait for the stream why it is over. It is called with mu held.
func (st *stream) end(err error) {
	if st.err != nil {
		return
	}
	st.err = err
	if st.bodyErr == nil {
		st.bodyErr = err
	}
	if !st.started {
		st.c.handlers--
		if st.late != nil {
			st.late.Stop()
		}
	}
	st.cancel()
	st.cond.Broadcast()
	if st.c.waits > 0 {
		st.c.room.Broadcast()
	}
}

// ended takes the end of the body.
func (st *stream) ended() {
	st.bodyErr = io.EOF
	if st.declared >= 0 && st.received != st.declared {
		st.bodyErr = io.ErrUnexpectedEOF
	}
	if st.waits > 0 {
		st.cond.Broadcast()
	}
	st.start()
}

func (c *conn) data(f *frame) error {
	size := len(f.payload)
	if f.stream == 0 {
		return connError{codeProtocol, "data of no stream"}
	}
	if err := f.unpad(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.stream]
	if st == nil && c.unknown(f.stream) {
		return connError{codeProtocol, "data of a stream that is not there"}
	}
	if c.recvLeft -= size; c.recvLeft < 0 {
		return connError{codeFlowControl, "more data than the window has"}
	}
	if st == nil || st.bodyErr != nil {
		c.taken(nil, size)
		if st == nil {
			return nil // it was reset or answered, which the client may not have known
		}
		return streamError{f.stream, codeClosed, "data after the end"}
	}
	st.received += int64(len(f.payload))
	if st.recvLeft -= size; st.recvLeft < 0 || st.declared >= 0 && st.received > st.declared {
		c.taken(nil, size)
		if st.recvLeft < 0 {
			return streamError{f.stream, codeFlowControl, "more data than the window has"}
		}
		return streamError{f.stream, codeProtocol, "more data than the length says"}
	}
	kept := len(f.payload)
	if st.bodyClosed {
		kept = 0
	}
	if st.body == nil && kept > 0 {
		st.body = make([]byte, 0, min(max(st.declared, int64(kept)), smallBody))
	}
	st.body = append(st.body, f.payload[:kept]...)
	end := f.has(flagEndStream)
	if end {
		st.ended()
	} else if st.waits > 0 {
		st.cond.Broadcast()
	}
	if kept < size {
		c.taken(st, size-kept)
	}
	return nil
}

// taken opens the windows again by what was taken of the data that came, when it is half of them. It is called with
// mu held.
func (c *conn) taken(st *stream, n int) {
	told := false
	if c.recvRead += n; c.recvRead >= connWindow/2 {
		c.control()
		c.out, told = appendWindow(c.out, 0, c.recvRead), true
		c.recvLeft, c.recvRead = c.recvLeft+c.recvRead, 0
	}
	if st != nil && st.bodyErr == nil {
		if st.recvRead += n; st.recvRead >= streamWindow/2 {
			c.out, told = appendWindow(c.out, st.id, st.recvRead), true
			st.recvLeft, st.recvRead = st.recvLeft+st.recvRead, 0
		}
	}
	if told {
		c.flushAside()
	}
}

// body is a request's body.
type body stream

func (b *body) Read(p []byte) (int, error) {
	st := (*stream)(b)
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.expects {
		if st.expects = false; st.err == nil && !st.resp.sent {
			c.appendHeaders(st, http.StatusContinue, nil, false)
			c.flush()
		}
	}
	for len(st.body) == 0 {
		switch {
		case st.bodyClosed:
			return 0, http.ErrBodyReadAfterClose
		case st.bodyErr != nil:
			st.giveTrailers()
			return 0, st.bodyErr
		case expired(st.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		st.waits++
		wait(&st.cond, st.readBy)
		st.waits--
	}
	n := copy(p, st.body)
	if st.body = st.body[n:]; len(st.body) == 0 {
		st.body = nil
	}
	c.taken(st, n)
	if st.body == nil && st.bodyErr == io.EOF {
		st.giveTrailers()
		return n, io.EOF
	}
	return n, nil
}

func (b *body) Close() error {
	st := (*stream)(b)
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.closeBody()
	return nil
}

func (st *stream) closeBody() {
	if st.bodyClosed {
		return
	}
	st.bodyClosed = true
	n := len(st.body)
	st.body = nil
	st.c.taken(st, n)
	st.cond.Broadcast()
}

// handle runs the handler.
func (st *stream) handle() {
	defer func() {
		if p := recover(); p != nil {
			st.panicked(p)
		} else {
			st.done()
		}
	}()
	if st.large {
		st.resp.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		_, _ = io.WriteString(&st.resp, "the request's headers are too large\n")
		return
	}
	st.c.server.cfg.Handler.ServeHTTP(&st.resp, st.req)
}

// done ends the answer.
func (st *stream) done() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.err == nil {
		st.resp.finish()
	}
	st.over(codeNo)
}

// over ends the stream when the handler has returned. A body that is still coming is not wanted any more.
func (st *stream) over(code errCode) {
	c := st.c
	c.handlers--
	st.closeBody()
	if st.err == nil {
		if !st.sendEnded || st.bodyErr == nil {
			c.out = appendReset(c.out, st.id, code)
		}
		c.forget(st, errHandled)
	}
	st.cancel()
	c.flush()
}

var errHandled = &handledError{}

// handledError is what those get who use a request or an answer when the handler has returned.
type handledError struct{}

func (*handledError) Error() string { return "h2: the request is over" }

func (st *stream) panicked(p any) {
	if log := st.c.server.cfg.ErrorLog; log != nil && p != http.ErrAbortHandler {
		log.Printf("h2: panic serving %s: %v\n%s", st.c.remote, p, stack())
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.over(codeInternal)
}

// giveTrailers shows the headers that followed the body, as far as they were announced, to who has read it.
func (st *stream) giveTrailers() {
	for key := range st.req.Trailer {
		if v := st.trailer[key]; v != nil {
			st.req.Trailer[key] = v
		}
	}
	st.trailer = nil
}

// announced takes the names of trailers off the headers.
func announced(header http.Header) http.Header {
	var trailer http.Header
	for _, line := range header["Trailer"] {
		for _, name := range strings.Split(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch name {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
				continue
			}
			if trailer == nil {
				trailer = http.Header{}
			}
			trailer[name] = nil
		}
	}
	delete(header, "Trailer")
	return trailer
}
