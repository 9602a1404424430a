package raft

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte of a connection tells what it is for.
const (
	connRaft = 1 // raft's own messages
	connPeer = 2 // this package's protocol, see frame.go
)

// firstByteTimeout is how long an accepted connection may keep silent.
const firstByteTimeout = 5 * time.Second

// maxUnknownConns bounds the accepted connections that have not told yet what they are for.
const maxUnknownConns = 64

// mux is a node's one listener, and all its connections: raft's and this package's. It is raft's
// StreamLayer.
type mux struct {
	network  Network
	address  string
	listener net.Listener
	accepted chan net.Conn   // raft's
	serve    func(net.Conn)  // serves a connection of this package's protocol
	unknown  chan struct{}   // has a token for each connection before its first byte
	ctx      context.Context // ends with hangUp
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after hangUp
}

var _ raft.StreamLayer = (*mux)(nil)

func listen(network Network, address string, serve func(net.Conn)) (*mux, error) {
	l, err := network.Listen(address)
	if err != nil {
		return nil, fmt.Errorf("raft: listen on %s: %w", address, err)
	}
	m := &mux{
		network: network, address: address, listener: l, serve: serve,
		accepted: make(chan net.Conn), unknown: make(chan struct{}, maxUnknownConns), conns: map[net.Conn]struct{}{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// start begins to take connections.
func (m *mux) start() { m.wg.Go(m.run) }

func (m *mux) run() {
	for m.ctx.Err() == nil {
		c, err := m.listener.Accept()
		if err != nil {
			select { // such as too many open files
			case <-m.ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		select {
		case m.unknown <- struct{}{}:
		case <-m.ctx.Done():
			c.Close()
			return
		}
		m.wg.Go(func() { m.sort(c) })
	}
}

// sort reads a connection's first byte and hands it to whom it is for.
func (m *mux) sort(c net.Conn) {
	conn, err := m.track(c)
	if err != nil {
		return
	}
	var first [1]byte
	_ = conn.SetReadDeadline(time.Now().Add(firstByteTimeout))
	_, err = conn.Read(first[:])
	<-m.unknown
	_ = conn.SetReadDeadline(time.Time{})
	switch {
	case err == nil && first[0] == connRaft:
		select {
		case m.accepted <- conn:
			return
		case <-m.ctx.Done():
		}
	case err == nil && first[0] == connPeer:
		m.serve(conn)
	}
	conn.Close()
}

// dial connects to another member for the purpose that the first byte tells.
func (m *mux) dial(ctx context.Context, address string, first byte) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	c, err := m.network.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	conn, err := m.track(c)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{first}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Dial implements raft.StreamLayer.
func (m *mux) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	defer cancel()
	return m.dial(ctx, string(address), connRaft)
}

// Accept implements net.Listener for raft's connections.
func (m *mux) Accept() (net.Conn, error) {
	select {
	case c := <-m.accepted:
		return c, nil
	case <-m.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; raft closes what it was given, and hangUp what is left.
func (m *mux) Close() error { return nil }

// Addr implements net.Listener. It is the address that the other members know.
func (m *mux) Addr() net.Addr { return memberAddr(m.address) }

type memberAddr string

func (memberAddr) Network() string  { return "member" }
func (a memberAddr) String() string { return string(a) }

// hangUp ends everything that goes over the network; wait waits for what it started.
func (m *mux) hangUp() error {
	m.cancel()
	err := m.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	m.mu.Lock()
	conns := m.conns
	m.conns = nil
	m.mu.Unlock()
	for c := range conns {
		c.Close()
	}
	return err
}

func (m *mux) wait() { m.wg.Wait() }

// track sees to it that hangUp closes a connection.
func (m *mux) track(c net.Conn) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		c.Close()
		return nil, net.ErrClosed
	}
	m.conns[c] = struct{}{}
	return &trackedConn{Conn: c, mux: m}, nil
}

type trackedConn struct {
	net.Conn
	mux *mux
}

func (c *trackedConn) Close() error {
	c.mux.mu.Lock()
	delete(c.mux.conns, c.Conn)
	c.mux.mu.Unlock()
	return c.Conn.Close()
}
