package apiserver

import (
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// gatherListener makes its connections gather what is written to them.
type gatherListener struct{ net.Listener }

// Accept is net.Listener's.
func (l gatherListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newGatherConn(c), nil
}

// gatherConn gathers small writes. The head and the body of an answer over HTTP/2, the answers to all requests that
// share a connection, and the events of all watches on it are a record of TLS each, and crypto/tls makes a system call
// of each record. Here a write only takes what is to be written, and a goroutine, which is there for as long as there
// is something, lets others who are about to write do so before it makes one system call of it all.
//
// As with what the kernel has taken and cannot send, an error shows with a later write.
type gatherConn struct {
	net.Conn

	mu   sync.Mutex
	room sync.Cond // something has changed that a waiting write looks at
	// buf is what the connection has not got yet, nil when that is nothing.
	buf *[]byte
	// sending tells that there is a goroutine that writes.
	sending bool
	// expired tells that the deadline of writes has passed.
	expired bool
	closed  bool
	err     error
}

const (
	// maxGathered is how many bytes wait at most, but for one write.
	maxGathered = 64 << 10
	// gatherRounds bounds how often others go first.
	gatherRounds = 4
	// closeGrace is how long the client may take to accept what was written before Close, or before a deadline that has
	// passed already: crypto/tls sets one after its last word.
	closeGrace = time.Second
)

// gathered are buffers of connections that are about to send. Those that are idle hold none.
var gathered = sync.Pool{New: func() any { return new([]byte) }}

func newGatherConn(c net.Conn) *gatherConn {
	g := &gatherConn{Conn: c}
	g.room.L = &g.mu
	return g
}

// Write is net.Conn's.
func (g *gatherConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.failure() == nil && g.buf != nil && len(*g.buf) >= maxGathered {
		g.room.Wait()
	}
	if err := g.failure(); err != nil {
		return 0, err
	}
	if g.buf == nil {
		g.buf = gathered.Get().(*[]byte)
	}
	*g.buf = append(*g.buf, p...)
	if !g.sending {
		g.sending = true
		go g.send()
	}
	return len(p), nil
}

// failure is why nothing can be written.
func (g *gatherConn) failure() error {
	switch {
	case g.closed:
		return net.ErrClosed
	case g.err == nil && g.expired:
		return os.ErrDeadlineExceeded
	}
	return g.err
}

// send writes until nothing is left.
func (g *gatherConn) send() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.buf != nil {
		g.gather()
		buf := g.buf
		g.buf = nil
		g.room.Broadcast()
		g.mu.Unlock()
		_, err := g.Conn.Write(*buf)
		*buf = (*buf)[:0]
		gathered.Put(buf)
		g.mu.Lock()
		if err != nil {
			g.err, g.buf = err, nil
			g.room.Broadcast()
		}
	}
	g.sending = false
	if g.closed {
		_ = g.Conn.Close()
	}
}

// gather lets others write, as long as more do. It is called with mu held, and holds it when it returns.
func (g *gatherConn) gather() {
	for range gatherRounds {
		before := len(*g.buf)
		if before >= maxGathered {
			return
		}
		g.mu.Unlock()
		runtime.Gosched()
		g.mu.Lock()
		if len(*g.buf) == before {
			return
		}
	}
}

// SetWriteDeadline is net.Conn's.
func (g *gatherConn) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.expired = !t.IsZero() && !t.After(now); g.expired {
		t = now.Add(closeGrace)
		g.room.Broadcast()
	}
	return g.Conn.SetWriteDeadline(t)
}

// SetDeadline is net.Conn's.
func (g *gatherConn) SetDeadline(t time.Time) error {
	if err := g.SetReadDeadline(t); err != nil {
		return err
	}
	return g.SetWriteDeadline(t)
}

// Close is net.Conn's. What was written before is sent.
func (g *gatherConn) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	g.closed = true
	g.room.Broadcast()
	if !g.sending {
		return g.Conn.Close()
	}
	now := time.Now()
	_ = g.Conn.SetReadDeadline(now)
	_ = g.Conn.SetWriteDeadline(now.Add(closeGrace))
	return nil
}
