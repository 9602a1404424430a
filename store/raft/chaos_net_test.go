package raft_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/inboard/inboard/store/raft"
)

// faultyNet is a network in memory. A link, one for each direction, can be cut or slow: what is written to
// a cut one arrives when it is whole again, as with TCP, unless the connection is reset before.
type faultyNet struct {
	mu        sync.Mutex
	changed   chan struct{} // closed, and replaced, when a link changes
	listeners map[string]*faultyListener
	cut       map[link]bool
	delay     map[link]time.Duration
	conns     map[*faultyConn]bool
}

type link struct{ from, to string }

func newFaultyNet() *faultyNet {
	return &faultyNet{
		changed: make(chan struct{}), listeners: map[string]*faultyListener{},
		cut: map[link]bool{}, delay: map[link]time.Duration{}, conns: map[*faultyConn]bool{},
	}
}

// member is the network as a member at an address has it.
func (n *faultyNet) member(address string) raft.Network { return faultyMember{n, address} }

// set cuts links, or makes them whole, or slow.
func (n *faultyNet) set(cut bool, delay time.Duration, links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		n.cut[l], n.delay[l] = cut, delay
	}
	close(n.changed)
	n.changed = make(chan struct{})
	for c := range n.conns {
		c.wake()
	}
}

// reset breaks some of the connections between two members.
func (n *faultyNet) reset(rnd *rand.Rand, a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if (c.link == link{a, b} || c.link == link{b, a}) && rnd.IntN(2) == 0 {
			c.broken, c.peer.broken = true, true
			c.wake()
			c.peer.wake()
		}
	}
}

type faultyMember struct {
	net     *faultyNet
	address string
}

func (m faultyMember) Listen(address string) (net.Listener, error) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	if m.net.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: memoryAddr(address), Err: syscall.EADDRINUSE}
	}
	l := &faultyListener{net: m.net, address: address, accept: make(chan net.Conn, 64), closed: make(chan struct{})}
	m.net.listeners[address] = l
	return l, nil
}

func (m faultyMember) Dial(ctx context.Context, address string) (net.Conn, error) {
	n := m.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.cut[link{m.address, address}] || n.cut[link{address, m.address}] {
		changed := n.changed
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		n.mu.Lock()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("dial %s: %w", address, ctx.Err())
		}
	}
	l := n.listeners[address]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr(address), Err: syscall.ECONNREFUSED}
	}
	here, there := newFaultyConn(n, link{m.address, address}), newFaultyConn(n, link{address, m.address})
	here.peer, there.peer = there, here
	select {
	case l.accept <- there:
	default:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr(address), Err: syscall.ECONNREFUSED}
	}
	n.conns[here], n.conns[there] = true, true
	return here, nil
}

type faultyListener struct {
	net     *faultyNet
	address string
	accept  chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *faultyListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *faultyListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.address)
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.accept:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *faultyListener) Addr() net.Addr { return memoryAddr(l.address) }

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

// faultyConn is one end of a connection; link is the direction in which it writes. Its fields are guarded
// by the network's lock.
type faultyConn struct {
	net  *faultyNet
	link link
	peer *faultyConn
	news chan struct{} // has a token when something changed for Read

	arriving       []packet // what the peer wrote
	closed, broken bool
	read, write    time.Time // deadlines
	readTimer      *time.Timer
}

type packet struct {
	at   time.Time
	data []byte
}

func newFaultyConn(n *faultyNet, l link) *faultyConn {
	return &faultyConn{net: n, link: l, news: make(chan struct{}, 1)}
}

func (c *faultyConn) Read(b []byte) (int, error) {
	for {
		n, wait, err := c.take(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if wait > 0 {
			time.AfterFunc(wait, c.wake)
		}
		<-c.news
	}
}

// take takes what has arrived, or tells how long that takes.
func (c *faultyConn) take(b []byte) (n int, wait time.Duration, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch {
	case c.closed:
		return 0, 0, net.ErrClosed
	case c.broken:
		return 0, 0, syscall.ECONNRESET
	case !c.read.IsZero() && !time.Now().Before(c.read):
		return 0, 0, os.ErrDeadlineExceeded
	case c.net.cut[c.peer.link]:
		return 0, 0, nil
	case len(c.arriving) == 0 && c.peer.closed:
		return 0, 0, io.EOF
	case len(c.arriving) == 0:
		return 0, 0, nil
	}
	first := &c.arriving[0]
	if wait := time.Until(first.at); wait > 0 {
		return 0, wait, nil
	}
	n = copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		c.arriving = c.arriving[1:]
	}
	return n, 0, nil
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.broken, c.peer.closed:
		return 0, syscall.ECONNRESET
	case !c.write.IsZero() && !time.Now().Before(c.write):
		return 0, os.ErrDeadlineExceeded
	}
	at := time.Now().Add(c.net.delay[c.link])
	c.peer.arriving = append(c.peer.arriving, packet{at, append([]byte(nil), b...)})
	c.peer.wake()
	return len(b), nil
}

func (c *faultyConn) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *faultyConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.closed = true
	delete(c.net.conns, c)
	c.wake()
	c.peer.wake()
	return nil
}

func (c *faultyConn) LocalAddr() net.Addr  { return memoryAddr(c.link.from) }
func (c *faultyConn) RemoteAddr() net.Addr { return memoryAddr(c.link.to) }

func (c *faultyConn) SetDeadline(at time.Time) error {
	_ = c.SetReadDeadline(at)
	return c.SetWriteDeadline(at)
}

func (c *faultyConn) SetReadDeadline(at time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.read = at
	if c.readTimer != nil {
		c.readTimer.Stop()
	}
	if !at.IsZero() {
		c.readTimer = time.AfterFunc(time.Until(at), c.wake)
	}
	c.wake()
	return nil
}

func (c *faultyConn) SetWriteDeadline(at time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.write = at // writes never wait
	return nil
}
