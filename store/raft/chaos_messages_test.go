package raft_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/inboard/inboard/store/raft"
)

// messages loses and doubles raft's messages one by one, where connections carry all or nothing.
type messages struct {
	raft.Transport
	faulty *atomic.Bool
}

var errLost = errors.New("the message is lost")

// send sends a message, or does not, or twice, or loses the answer.
func (m messages) send(once func() error) error {
	if !m.faulty.Load() {
		return once()
	}
	switch rand.IntN(6) {
	case 0:
		return errLost
	case 1:
		_ = once()
		return errLost
	case 2:
		_ = once()
	}
	return once()
}

// AppendEntriesPipeline makes raft send entries one message at a time, so that all of them come by here.
func (m messages) AppendEntriesPipeline(hraft.ServerID, hraft.ServerAddress) (hraft.AppendPipeline, error) {
	return nil, hraft.ErrPipelineReplicationNotSupported
}

func (m messages) AppendEntries(id hraft.ServerID, to hraft.ServerAddress, args *hraft.AppendEntriesRequest, resp *hraft.AppendEntriesResponse) error {
	return m.send(func() error { return m.Transport.AppendEntries(id, to, args, resp) })
}

func (m messages) RequestVote(id hraft.ServerID, to hraft.ServerAddress, args *hraft.RequestVoteRequest, resp *hraft.RequestVoteResponse) error {
	return m.send(func() error { return m.Transport.RequestVote(id, to, args, resp) })
}

func (m messages) RequestPreVote(id hraft.ServerID, to hraft.ServerAddress, args *hraft.RequestPreVoteRequest, resp *hraft.RequestPreVoteResponse) error {
	return m.send(func() error { return m.Transport.RequestPreVote(id, to, args, resp) })
}
