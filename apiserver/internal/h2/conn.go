package h2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// conn is one connection. One goroutine reads it; those that answer write it, see send.go.
type conn struct {
	server *Server
	nc     net.Conn
	tls    *tls.ConnectionState
	ctx    context.Context // ends with the connection
	remote string

	// For the goroutine that reads.
	br      *bufio.Reader
	payload []byte
	headers headers
	settled bool // the client's first SETTINGS have come

	mu      sync.Mutex
	err     error // why the connection ended
	streams map[uint32]*stream
	// lastStream is the client's newest stream, handlers how many run.
	lastStream uint32
	handlers   int
	leaving    bool // after GOAWAY
	used       time.Time

	// recvLeft is what the client may still send, recvRead what was read of it since it was last told.
	recvLeft, recvRead int

	// out has frames that are not written yet, spare is an empty buffer. While writing, somebody writes.
	out, spare []byte
	writing    bool
	writeSince time.Time // for who writes: when its deadline was set
	// room is told when out was written or the connection's window opened, if there are waits for it.
	room                    sync.Cond
	waits                   int
	sendLeft, initialWindow int64
	maxFrame                int
	encoder                 *hpack.Encoder
	encoded                 bytes.Buffer
}

var errClosed = errors.New("h2: the connection is closed")

func (c *conn) serve() {
	idle := c.watchIdle()
	err := c.read()
	if idle != nil {
		idle.Stop()
	}
	c.mu.Lock()
	var fault connError
	if errors.As(err, &fault) && c.err == nil {
		c.out = appendGoAway(c.out, c.lastStream, fault.code)
		c.flushAll()
		c.stop(err)
		c.mu.Unlock()
		c.linger()
		c.mu.Lock()
	}
	c.fail(err)
	c.mu.Unlock()
	_ = c.nc.Close()
}

// linger takes what the client has sent already: to close a connection with something unread in it would take from
// the client what was said last.
func (c *conn) linger() {
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerFor))
	_, _ = io.CopyN(io.Discard, c.br, connWindow)
}

// fail ends the connection and all that waits for it; the first reason stays. It is called with mu held.
func (c *conn) fail(err error) {
	c.stop(err)
	// Whoever writes and whoever reads find out.
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// stop is fail that lets reads and writes go on.
func (c *conn) stop(err error) {
	if c.err != nil {
		return
	}
	if c.err = err; err == nil {
		c.err = errClosed
	}
	for _, st := range c.streams {
		st.end(c.err)
	}
	clear(c.streams)
	c.room.Broadcast()
}

// watchIdle ends the connection when there was no request for the idle time. The timer looks, instead of being set
// by each request.
func (c *conn) watchIdle() *time.Timer {
	limit := c.server.cfg.IdleTimeout
	if limit <= 0 {
		return nil
	}
	var t *time.Timer
	var once sync.Mutex // until t is set
	once.Lock()
	t = time.AfterFunc(limit, func() {
		once.Lock()
		defer once.Unlock()
		c.mu.Lock()
		left := limit
		if len(c.streams) == 0 {
			left = limit - time.Since(c.used)
		}
		c.mu.Unlock()
		if left > 0 {
			t.Reset(left)
			return
		}
		c.leave()
	})
	once.Unlock()
	return t
}

// leave tells the client to begin nothing further here, and closes the connection when all has ended.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.err != nil {
		return
	}
	c.leaving = true
	c.out = appendGoAway(c.out, c.lastStream, codeNo)
	c.flush()
	c.left()
}

// left closes the connection when it is left and nothing is open. It is called with mu held.
func (c *conn) left() {
	if !c.leaving || len(c.streams) > 0 || c.err != nil {
		return
	}
	c.flushAll()
	c.fail(errClosed)
}

// read reads frames until the connection ends, and returns why.
func (c *conn) read() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(prefaceWithin))
	var got [len(preface)]byte
	if _, err := io.ReadFull(c.br, got[:]); err != nil {
		return err
	}
	if string(got[:]) != preface {
		return connError{codeProtocol, "not the preface of HTTP/2"}
	}
	c.greet()
	for {
		f, err := c.readFrame()
		if err != nil {
			return err
		}
		if !c.settled {
			if f.typ != frameSettings || f.has(flagAck) {
				return connError{codeProtocol, "the first frame is not SETTINGS"}
			}
			c.settled = true
			_ = c.nc.SetReadDeadline(time.Time{})
			c.mu.Lock()
			if c.err != nil { // fail's deadline must not be undone
				_ = c.nc.SetDeadline(time.Unix(1, 0))
			}
			c.mu.Unlock()
		}
		if err = c.frame(&f); err == nil {
			continue
		}
		var fault streamError
		if !errors.As(err, &fault) {
			return err
		}
		c.reset(fault.id, fault.code)
	}
}

// greet sends the server's settings.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := appendFrame(c.out, 3*6, frameSettings, 0, 0)
	b = appendSetting(b, settingMaxStreams, maxStreams)
	b = appendSetting(b, settingInitialWindow, streamWindow)
	b = appendSetting(b, settingMaxHeaderList, uint32(c.server.cfg.MaxHeaderBytes))
	c.out = appendWindow(b, 0, connWindow-defaultWindow)
	c.flushAside()
}

// readFrame reads the next frame.
func (c *conn) readFrame() (frame, error) {
	head, err := c.br.Peek(frameHeaderSize)
	if err != nil {
		return frame{}, err
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	f := frame{typ: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & maxWindow}
	if n > minMaxFrame { // which is what SETTINGS say by saying nothing
		return f, connError{codeFrameSize, "a frame that is too large"}
	}
	_, _ = c.br.Discard(frameHeaderSize)
	if cap(c.payload) < n {
		c.payload = make([]byte, max(n, 512))
	}
	f.payload = c.payload[:n]
	_, err = io.ReadFull(c.br, f.payload)
	if cap(c.payload) > 4<<10 && n <= 4<<10 && c.br.Buffered() == 0 {
		c.payload = nil // an idle connection holds little; f keeps what it has
	}
	return f, err
}

// frame does what a frame asks for.
func (c *conn) frame(f *frame) error {
	if c.headers.open && f.typ != frameContinuation {
		return connError{codeProtocol, "a frame between headers and their continuation"}
	}
	switch f.typ {
	case frameData:
		return c.data(f)
	case frameHeaders:
		return c.headersFrame(f)
	case frameContinuation:
		if !c.headers.open {
			return connError{codeProtocol, "a continuation of nothing"}
		}
		done, err := c.headers.more(f)
		if err != nil || !done {
			return err
		}
		return c.headersDone()
	case framePriority:
		switch {
		case f.stream == 0:
			return connError{codeProtocol, "a priority of no stream"}
		case len(f.payload) != 5:
			return streamError{f.stream, codeFrameSize, "a priority of a wrong size"}
		}
		return nil
	case frameReset:
		return c.resetFrame(f)
	case frameSettings:
		return c.settings(f)
	case framePush:
		return connError{codeProtocol, "clients do not push"}
	case framePing:
		return c.ping(f)
	case frameGoAway:
		if f.stream != 0 || len(f.payload) < 8 {
			return connError{codeProtocol, "a GOAWAY that is none"}
		}
		return nil // it is about streams of the server, which begins none
	case frameWindow:
		return c.windowFrame(f)
	}
	return nil
}

func (c *conn) ping(f *frame) error {
	switch {
	case f.stream != 0:
		return connError{codeProtocol, "a ping of a stream"}
	case len(f.payload) != 8:
		return connError{codeFrameSize, "a ping of a wrong size"}
	case f.has(flagAck):
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control()
	c.out = append(appendFrame(c.out, 8, framePing, flagAck, 0), f.payload...)
	c.flushAside()
	return nil
}

func (c *conn) settings(f *frame) error {
	p := f.payload
	switch {
	case f.stream != 0:
		return connError{codeProtocol, "settings of a stream"}
	case len(p)%6 != 0 || f.has(flagAck) && len(p) > 0:
		return connError{codeFrameSize, "settings of a wrong size"}
	case f.has(flagAck):
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.control()
	c.out = appendFrame(c.out, 0, frameSettings, flagAck, 0)
	c.flushAside()
	return nil
}

func (c *conn) setting(id uint16, value uint32) error {
	switch id {
	case settingTableSize:
		c.encoder.SetMaxDynamicTableSize(value) // at most 4,096
	case settingPush:
		if value > 1 {
			return connError{codeProtocol, "a setting of a wrong value"}
		}
	case settingInitialWindow:
		if value > maxWindow {
			return connError{codeFlowControl, "a window that is too large"}
		}
		more := int64(value) - c.initialWindow
		c.initialWindow = int64(value)
		for _, st := range c.streams {
			if st.sendLeft += more; st.sendLeft > maxWindow {
				return connError{codeFlowControl, "a window that is too large"}
			}
			if st.waits > 0 {
				st.cond.Broadcast()
			}
		}
	case settingMaxFrame:
		if value < minMaxFrame || value > maxMaxFrame {
			return connError{codeProtocol, "a setting of a wrong value"}
		}
		c.maxFrame = int(min(value, 4*minMaxFrame))
	}
	return nil
}

func (c *conn) windowFrame(f *frame) error {
	if len(f.payload) != 4 {
		return connError{codeFrameSize, "a window of a wrong size"}
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream == 0 {
		if n == 0 {
			return connError{codeProtocol, "a window that does not open"}
		}
		if c.sendLeft += n; c.sendLeft > maxWindow {
			return connError{codeFlowControl, "a window that is too large"}
		}
		if c.waits > 0 {
			c.room.Broadcast()
		}
		return nil
	}
	st := c.streams[f.stream]
	switch {
	case st == nil && c.unknown(f.stream):
		return connError{codeProtocol, "a window of a stream that is not there"}
	case n == 0:
		return streamError{f.stream, codeProtocol, "a window that does not open"}
	case st == nil:
		return nil
	}
	if st.sendLeft += n; st.sendLeft > maxWindow {
		return streamError{f.stream, codeFlowControl, "a window that is too large"}
	}
	if st.waits > 0 {
		st.cond.Broadcast()
	}
	return nil
}

// unknown tells of streams that have not begun, and of the server's. It is called with mu held.
func (c *conn) unknown(id uint32) bool { return id > c.lastStream || id%2 == 0 }

func (c *conn) resetFrame(f *frame) error {
	if len(f.payload) != 4 {
		return connError{codeFrameSize, "a reset of a wrong size"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unknown(f.stream) {
		return connError{codeProtocol, "a reset of a stream that is not there"}
	}
	if st := c.streams[f.stream]; st != nil {
		c.forget(st, streamError{f.stream, errCode(binary.BigEndian.Uint32(f.payload)), "reset by the client"})
	}
	return nil
}

// reset ends a stream that broke the rules.
func (c *conn) reset(id uint32, code errCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		c.forget(st, streamError{id, code, "reset by the server"})
	}
	c.control()
	c.out = appendReset(c.out, id, code)
	c.flushAside()
}

// forget ends a stream for both sides. It is called with mu held.
func (c *conn) forget(st *stream, err error) {
	if c.streams[st.id] == nil {
		return
	}
	delete(c.streams, st.id)
	c.used = time.Now()
	st.end(err)
	c.left()
}
