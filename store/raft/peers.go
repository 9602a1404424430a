package raft

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// peers are the connections on which this node asks the others. There is one to each, made when needed.
type peers struct {
	mux     *mux
	id      string
	timeout time.Duration // of dialing and of writing

	mu    sync.Mutex
	conns map[peerKey]*peerConn
}

type peerKey struct{ id, address string }

func newPeers(m *mux, id string, timeout time.Duration) *peers {
	return &peers{mux: m, id: id, timeout: timeout, conns: map[peerKey]*peerConn{}}
}

// ask asks a member and waits for the answer. The error is errNotSent when the member has not got the
// question, errNoAnswer when that is not known, or what the member answered.
func (p *peers) ask(ctx context.Context, id, address string, kind byte, body []byte) ([]byte, error) {
	c := p.conn(peerKey{id, address})
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNotSent, ctx.Err())
	}
	if c.err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, c.err)
	}
	return c.ask(ctx, kind, body)
}

// conn returns the connection to a member, and begins to make it when there is none.
func (p *peers) conn(key peerKey) *peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[key]; c != nil {
		return c
	}
	c := &peerConn{peers: p, key: key, ready: make(chan struct{}), waiting: map[uint64]chan frame{}, done: make(chan struct{})}
	p.conns[key] = c
	p.mux.wg.Go(c.run)
	return c
}

// forget lets the next question make a new connection.
func (p *peers) forget(c *peerConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[c.key] == c {
		delete(p.conns, c.key)
	}
}

// peerConn is a connection to a member. ready is closed when it is made or err tells why not.
type peerConn struct {
	peers *peers
	key   peerKey
	ready chan struct{}
	err   error
	done  chan struct{} // closed when no more answers come

	conn   net.Conn
	r      *bufio.Reader
	writer frameWriter

	answers atomic.Uint64 // counts what has come

	mu      sync.Mutex
	number  uint64
	waiting map[uint64]chan frame
}

// run makes the connection and hands out the answers that come.
func (c *peerConn) run() {
	ctx, cancel := context.WithTimeout(c.peers.mux.ctx, c.peers.timeout)
	c.err = c.dial(ctx)
	cancel()
	if c.err == nil {
		close(c.ready)
		for c.receive() == nil {
		}
	}
	c.peers.forget(c)
	if c.conn != nil {
		c.conn.Close()
	}
	if c.err != nil {
		close(c.ready)
	}
	close(c.done)
}

func (c *peerConn) dial(ctx context.Context) error {
	conn, err := c.peers.mux.dial(ctx, c.key.address, connPeer)
	if err != nil {
		return err
	}
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 64<<10)
	c.writer.init(conn, c.peers.timeout)
	deadline, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(deadline)
	hello := new(fields).uint(protocolVersion).string(c.peers.id).string(c.key.id)
	if err := c.writer.write(frame{kind: kindHello, body: hello.b}); err != nil {
		return err
	}
	answer, err := readFrame(c.r, maxHelloBytes)
	if err != nil {
		return fmt.Errorf("raft: member %s at %s does not answer: %w", c.key.id, c.key.address, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	if answer.kind == kindError {
		return readError(answer.body)
	}
	if answer.kind != kindHello {
		return fmt.Errorf("%w: %s answers hello with %d", errFrame, c.key.address, answer.kind)
	}
	return nil
}

// receive reads an answer and gives it to who waits for it.
func (c *peerConn) receive() error {
	f, err := readFrame(c.r, maxFrameBytes)
	if err != nil {
		return err
	}
	c.answers.Add(1)
	c.mu.Lock()
	answer := c.waiting[f.number]
	delete(c.waiting, f.number)
	c.mu.Unlock()
	if answer != nil {
		answer <- f
	}
	return nil
}

func (c *peerConn) ask(ctx context.Context, kind byte, body []byte) ([]byte, error) {
	answer := make(chan frame, 1)
	before, asked := c.answers.Load(), time.Now()
	c.mu.Lock()
	c.number++
	number := c.number
	c.waiting[number] = answer
	c.mu.Unlock()
	defer c.giveUp(number)
	if err := c.writer.write(frame{kind: kind, number: number, body: body}); err != nil {
		if errors.Is(err, errFrame) {
			return nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		c.conn.Close() // a part of it may have been sent
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	select {
	case f := <-answer:
		return f.answer()
	case <-ctx.Done():
		if c.answers.Load() == before && time.Since(asked) >= c.peers.timeout {
			c.conn.Close() // it may be dead without anybody having told; the next question tries a new one
		}
		return nil, noAnswer(ctx)
	case <-c.done:
	}
	select { // it may have come with the end
	case f := <-answer:
		return f.answer()
	default:
		return nil, fmt.Errorf("%w: connection to %s lost", errNoAnswer, c.key.address)
	}
}

func (c *peerConn) giveUp(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// answer is the body of an answer, or the error that it tells of.
func (f frame) answer() ([]byte, error) {
	if f.kind == kindError {
		return nil, readError(f.body)
	}
	return f.body, nil
}

// frameWriter writes frames of many goroutines, several at a time when they come at once.
type frameWriter struct {
	conn    net.Conn
	timeout time.Duration
	writers atomic.Int32 // that have something to write

	mu sync.Mutex
	w  *bufio.Writer
}

func (w *frameWriter) init(conn net.Conn, timeout time.Duration) {
	w.conn, w.timeout, w.w = conn, timeout, bufio.NewWriterSize(conn, 64<<10)
}

func (w *frameWriter) write(f frame) error {
	w.writers.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
	err := writeFrame(w.w, f)
	if w.writers.Add(-1) == 0 { // nobody else is about to
		if flush := w.w.Flush(); err == nil {
			err = flush
		}
	}
	return err
}
