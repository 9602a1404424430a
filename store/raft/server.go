package raft

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/inboard/inboard/store"
)

// maxQuestions bounds the questions of one connection that are being answered; the next one waits.
const maxQuestions = 256

// server answers the other members on one connection.
type server struct {
	node   *Node
	writer frameWriter
	slots  chan struct{}
	wg     sync.WaitGroup
}

// serve answers one connection of another member until it ends.
func (n *Node) serve(conn net.Conn) {
	s := server{node: n, slots: make(chan struct{}, maxQuestions)}
	s.writer.init(conn, n.cfg.peerTimeout())
	r := bufio.NewReaderSize(conn, 64<<10)
	if err := s.hello(conn, r); err != nil {
		n.cfg.Logger.Warn("another member's connection is refused", "from", conn.RemoteAddr().String(), "error", err)
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	defer s.wg.Wait()
	defer cancel()
	for {
		f, err := readFrame(r, maxFrameBytes)
		if err != nil {
			return
		}
		if f.kind == kindTerm { // the most frequent one, and nothing to wait for
			s.reply(f, new(fields).uint(n.raft.CurrentTerm()), nil)
			continue
		}
		s.slots <- struct{}{}
		s.wg.Go(func() {
			answer, err := n.answer(ctx, f)
			s.reply(f, answer, err)
			<-s.slots
		})
	}
}

// hello exchanges the first frames.
func (s *server) hello(conn net.Conn, r *bufio.Reader) error {
	_ = conn.SetReadDeadline(time.Now().Add(firstByteTimeout))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	f, err := readFrame(r, maxHelloBytes)
	if err != nil {
		return err
	}
	body := fieldReader{b: f.body}
	version, caller, called := body.uint(), body.string(), body.string()
	if err := body.end(); err != nil || f.kind != kindHello {
		return errFrame
	}
	id := s.node.cfg.ID
	switch {
	case version != protocolVersion:
		err = fmt.Errorf("%w: version %d of the protocol; this member speaks %d", errFrame, version, protocolVersion)
	case called != id:
		err = fmt.Errorf("raft: member %s calls %s, this is %s", caller, called, id)
	default:
		s.reply(f, nil, nil)
		return nil
	}
	s.reply(f, nil, err)
	return err
}

// reply answers a question. What cannot be written is lost with the connection, and the other side sees that.
func (s *server) reply(question frame, answer *fields, err error) {
	f := frame{kind: kindOK, number: question.number}
	switch {
	case err != nil:
		f.kind, f.body = kindError, appendError(new(fields), err).b
	case question.kind == kindHello:
		f.kind = kindHello
	case answer != nil:
		f.body = answer.b
	}
	if err := s.writer.write(f); err != nil {
		s.writer.conn.Close()
	}
}

// answer answers one question.
func (n *Node) answer(ctx context.Context, f frame) (*fields, error) {
	body := fieldReader{b: f.body}
	switch f.kind {
	case kindPropose:
		at, err := n.forwarded(f.body)
		return new(fields).uint(at.index).uint(at.term), err
	case kindReadIndex:
		if err := body.end(); err != nil {
			return nil, err
		}
		at, err := n.readIndex(ctx)
		return new(fields).uint(at.index).uint(at.commit).uint(at.term), err
	case kindCommitted:
		c := commit{term: body.uint(), leader: body.string(), address: body.string(), index: body.uint()}
		if err := body.end(); err != nil {
			return nil, err
		}
		n.commits.learn(c)
		return nil, nil
	case kindKeepAlive, kindRemaining:
		id := store.LeaseID(body.int())
		if err := body.end(); err != nil {
			return nil, err
		}
		left, err := n.lease(ctx, f.kind, id)
		return new(fields).int(int64(left)), err
	case kindStatus:
		if err := body.end(); err != nil {
			return nil, err
		}
		return appendStatus(new(fields), n.Status()), nil
	case kindChange:
		what, m := body.uint(), readMember(&body)
		if err := body.end(); err != nil {
			return nil, err
		}
		return nil, n.change(ctx, what, m)
	case kindTransfer:
		id := body.string()
		if err := body.end(); err != nil {
			return nil, err
		}
		return nil, n.transferHere(id)
	}
	return nil, fmt.Errorf("%w: unknown kind %d", errFrame, f.kind)
}
