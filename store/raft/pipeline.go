package raft

import (
	"time"

	"github.com/hashicorp/raft"
)

// pipeline is raft's way of sending entries without waiting for each answer.
//
// In raft v1.8.0, a leader that is deposed stops reading the answers while it may still be sending: with
// all places taken, the sender waits for ever, and with it Raft.Shutdown. Here a sender that does not get a
// place in time ends the pipeline, and raft goes on one request at a time.
type pipeline struct {
	raft.AppendPipeline
	patience time.Duration
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.innerTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return pipeline{p, 4 * t.patience}, nil
}

// AppendEntries implements raft.AppendPipeline.
func (p pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	late := time.AfterFunc(p.patience, func() { _ = p.Close() })
	defer late.Stop()
	return p.AppendPipeline.AppendEntries(args, resp)
}
