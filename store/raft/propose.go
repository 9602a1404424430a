package raft

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/inboard/inboard/store"
)

// proposer is raft's log as the store's Proposer.
type proposer struct {
	raft *raft.Raft
	log  *guardedLog
}

// Propose implements store.Proposer. It ends when the entry was applied or raft stops.
func (p *proposer) Propose(ctx context.Context, command []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.log.failure(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	}
	err := p.raft.Apply(command, 0).Error()
	if err == nil {
		return nil
	}
	if failure := p.log.failure(); failure != nil {
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, failure)
	}
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", store.ErrNoLeader, err)
	}
	// Raft does not tell how far the entry came: it may be on the disk, and be applied later.
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
}
