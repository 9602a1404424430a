// Package h2 serves HTTP/2 (RFC 9113) to the clients of an API server: the requests of many goroutines and of many
// watches over few connections. It does what the server of net/http does, for less of the processor:
//
//   - who answers puts its frames into the connection's buffer by itself, and whoever comes first writes what all have
//     put there: one record of TLS for many small frames, one write for several records, no goroutine in between;
//   - a request's goroutine serves further requests, so stacks do not grow anew for each;
//   - deadlines cost nothing while nobody waits for them, and windows are opened by halves, not by reads.
//
// Server push, priorities and CONNECT are not served; RFC 9113 deprecates the first two.
package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// How much a client may send before it is read, by stream and connection, and how many requests at once; as net/http has it.
const (
	streamWindow  = 1 << 20
	connWindow    = 1 << 20
	maxStreams    = 250
	maxHandlers   = 4 * maxStreams // with those whose stream was reset
	prefaceWithin = 10 * time.Second
	lingerFor     = 250 * time.Millisecond
)

// writeTimeout is how long a client may take to take 64 KiB off the connection.
const writeTimeout = 30 * time.Second

// Config configures a Server; Handler is required.
type Config struct {
	Handler http.Handler
	// HTTP is the server that the connections come from: the value of http.ServerContextKey.
	HTTP *http.Server
	// MaxHeaderBytes bounds a request's headers, by default 1 MiB.
	MaxHeaderBytes int
	// IdleTimeout is how long a connection without requests is kept; 0 for ever.
	IdleTimeout time.Duration
	// ErrorLog is told of panics; nil discards.
	ErrorLog *log.Logger
}

// Server serves HTTP/2 on connections that it is given.
type Server struct {
	cfg     Config
	workers workers

	mu    sync.Mutex
	conns map[*conn]bool
	ended bool
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.MaxHeaderBytes <= 0 {
		cfg.MaxHeaderBytes = 1 << 20
	}
	return &Server{cfg: cfg, conns: map[*conn]bool{}}
}

// NextProto serves a connection on which TLS has negotiated h2; it fits http.Server.TLSNextProto.
func (s *Server) NextProto(_ *http.Server, c *tls.Conn, h http.Handler) {
	ctx := context.Background()
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		ctx = b.BaseContext()
	}
	state := c.ConnectionState()
	s.ServeConn(ctx, c, &state)
}

// ServeConn serves a connection until it ends, and closes it. Handlers may still be on their way back then.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, state *tls.ConnectionState) {
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, nc.LocalAddr())
	if s.cfg.HTTP != nil {
		ctx = context.WithValue(ctx, http.ServerContextKey, s.cfg.HTTP)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conn{
		server: s, nc: nc, tls: state, ctx: ctx, remote: nc.RemoteAddr().String(),
		br: bufio.NewReader(nc), recvLeft: connWindow,
		streams: map[uint32]*stream{}, sendLeft: defaultWindow, initialWindow: defaultWindow, maxFrame: minMaxFrame,
		used: time.Now(),
	}
	c.room.L = &c.mu
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.headers.init(s.cfg.MaxHeaderBytes)
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	defer s.remove(c)
	c.serve()
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.conns[c] = true
	}
	return !s.ended
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Shutdown lets connections end when their requests have, and takes no further ones. It does not wait.
func (s *Server) Shutdown() {
	s.mu.Lock()
	s.ended = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.workers.end()
	for _, c := range conns {
		go c.leave() // it may have to wait for the client
	}
}
