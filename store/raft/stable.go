package raft

import (
	"runtime"

	"github.com/hashicorp/raft"
)

// guardedStable keeps raft's term and vote. Raft panics when it cannot note a new term, which would end the
// program that it is in. Here the node stops, as after any failed write of the log: the goroutine in which
// raft would have gone on ends, so that nothing is done in a term that is not on the disk.
type guardedStable struct {
	raft.StableStore
	fail func(error)
}

// SetUint64 implements raft.StableStore. Raft calls it for terms, in its main goroutine.
func (s guardedStable) SetUint64(key []byte, value uint64) error {
	err := s.StableStore.SetUint64(key, value)
	if err != nil {
		s.fail(err)
		runtime.Goexit()
	}
	return nil
}
