package h2

import (
	"crypto/tls"
	"net"
)

// Listener gives connections whose TLS records are written together: TLS writes each of its records, of at most
// 16 KiB, by itself, and each write wakes up the other side.
func Listener(ln net.Listener) net.Listener { return listener{ln} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &corkedConn{Conn: c}, nil
}

// corkedConn keeps what is written between cork and uncork. Both are called by who writes.
type corkedConn struct {
	net.Conn
	on   bool
	kept []byte
}

func corked(c net.Conn) *corkedConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	k, _ := c.(*corkedConn)
	return k
}

func (c *corkedConn) cork() { c.on, c.kept = true, *outBuffers.Get().(*[]byte) }

func (c *corkedConn) Write(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	c.kept = append(c.kept, p...)
	return len(p), nil
}

func (c *corkedConn) uncork() error {
	if !c.on {
		return nil
	}
	b := c.kept
	c.on, c.kept = false, nil
	_, err := c.Conn.Write(b)
	_ = release(b)
	return err
}
