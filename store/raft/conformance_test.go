package raft_test

import (
	"testing"

	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, openSmall)
}

func TestScripts(t *testing.T) {
	storetest.RunScripts(t, "../storetest/testdata", openSmall)
}

// openSmall opens a store with small bounds, so that snapshots and new segments come in between.
func openSmall(t *testing.T) storetest.Store {
	return storetest.Local(open(t, raft.Config{Dir: t.TempDir(), SnapshotEntries: 100, SegmentBytes: 64 << 10}).Store())
}
