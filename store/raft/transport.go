package raft

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// innerTransport is what carries raft's messages.
type innerTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// transport is raft's transport. It adds messages of this node to itself, and keeps all of them in order.
//
// Raft would handle heartbeats beside its main loop, so that a slow disk does not hold them up. There, a
// heartbeat of an old term that races with a vote can set the term back, after which two leaders can commit
// different entries. Here, heartbeats go to the main loop like everything else; only when it is busy for
// long, the answer is given for it, and changes nothing.
type transport struct {
	innerTransport
	rpcs chan raft.RPC
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	// patience is how long a heartbeat waits for the main loop.
	patience time.Duration
	// answer answers a heartbeat in the main loop's place; nil when it cannot.
	answer func(*raft.AppendEntriesRequest) *raft.AppendEntriesResponse
}

func newTransport(inner innerTransport, patience time.Duration) *transport {
	t := &transport{innerTransport: inner, rpcs: make(chan raft.RPC), stop: make(chan struct{}), patience: patience}
	inner.SetHeartbeatHandler(t.heartbeat)
	t.wg.Go(t.run)
	return t
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	t.once.Do(func() { close(t.stop) })
	err := t.innerTransport.Close()
	t.wg.Wait()
	return err
}

func (t *transport) run() {
	for {
		select {
		case rpc := <-t.innerTransport.Consumer():
			select {
			case t.rpcs <- rpc:
			case <-t.stop:
				return
			}
		case <-t.stop:
			return
		}
	}
}

// heartbeat hands a heartbeat to raft's main loop, or answers it when that is busy.
func (t *transport) heartbeat(rpc raft.RPC) {
	select {
	case t.rpcs <- rpc:
		return
	default:
	}
	patience := time.NewTimer(t.patience)
	defer patience.Stop()
	select {
	case t.rpcs <- rpc:
		return
	case <-t.stop:
		return
	case <-patience.C:
	}
	if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && t.answer != nil {
		if response := t.answer(request); response != nil {
			rpc.Respond(response, nil)
			return
		}
	}
	select {
	case t.rpcs <- rpc:
	case <-t.stop:
	}
}

// send gives raft a message of this node to itself and waits for the answer. It is nil when raft stops.
func (t *transport) send(command any) any {
	answers := make(chan raft.RPCResponse, 1)
	select {
	case t.rpcs <- raft.RPC{Command: command, RespChan: answers}:
	case <-t.stop:
		return nil
	}
	select {
	case answer := <-answers:
		return answer.Response
	case <-t.stop:
		return nil
	}
}
