package raft_test

import (
	"testing"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		// Small bounds, so that snapshots and new segments come in between.
		return open(t, raft.Config{Dir: t.TempDir(), SnapshotEntries: 100, SegmentBytes: 64 << 10}).Store()
	})
}
