package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/inboard/inboard/store"
)

// logMeta is the log's list of its files. When the log opens, it first sees to the file that was being
// written, for which raft-wal v0.4.0 is not careful enough:
//   - A crash between filling a file up and starting the next one leaves a log that can be read but
//     never be written again. The next file is started here.
//   - A damaged batch is dropped with all that follows it, acknowledged or not. Here it is an error.
//   - The index of a full file is believed even if the batch that it came with is not whole. What is
//     not whole is cleared here.
//   - A file that was being written when entries at its end were taken back is declared full, but without the
//     index that a full file is read by: a log that a follower's leader has corrected could never be opened
//     again. The index is written here.
//   - A file that is gone, or that has lost its end, is made anew or written on. Here it is an error when more is
//     known to have been in it.
type logMeta struct {
	metaFile
	wayOut string // of damage
}

// Load implements types.MetaStore.
func (m *logMeta) Load(dir string) (types.PersistentState, error) {
	switch err := m.read(dir); {
	case errors.Is(err, store.ErrCorrupt):
		return types.PersistentState{}, fmt.Errorf("%w; %s", err, m.wayOut)
	case err != nil:
		return types.PersistentState{}, err
	}
	state := m.state.PersistentState
	if len(state.Segments) == 0 {
		return state, nil
	}
	state.Segments = slices.Clone(state.Segments)
	if err := m.index(dir, &state); err != nil {
		return state, err
	}
	last := &state.Segments[len(state.Segments)-1]
	if !last.SealTime.IsZero() {
		return state, nil
	}
	var want segmentWant
	if m.state.Last >= last.BaseIndex {
		want = segmentWant{entries: int(m.state.Last-last.BaseIndex) + 1, size: int(last.SizeLimit)}
	}
	tail, err := repairSegment(filepath.Join(dir, segment.FileName(*last)), want)
	switch {
	case errors.Is(err, fs.ErrNotExist) && want.entries == 0:
		return state, nil // it was about to be made, and is made now
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errInMiddle), errors.Is(err, errNoHeader), errors.Is(err, errLostEnd):
		return state, fmt.Errorf("%w: %w; %s", store.ErrCorrupt, err, m.wayOut)
	case err != nil || tail.indexStart == 0:
		return state, err
	}
	last.SealTime = time.Now()
	last.MaxIndex = last.BaseIndex + uint64(tail.entries) - 1
	last.IndexStart = uint64(tail.indexStart)
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last.MaxIndex + 1, MinIndex: last.MaxIndex + 1,
		SizeLimit: last.SizeLimit, Codec: last.Codec, CreateTime: last.SealTime,
	}
	state.NextSegmentID++
	state.Segments = append(state.Segments, next)
	return state, m.CommitState(state)
}

// index writes the indexes that full files lack.
func (m *logMeta) index(dir string, state *types.PersistentState) error {
	indexed := false
	for i := range state.Segments {
		s := &state.Segments[i]
		if s.SealTime.IsZero() || s.IndexStart != 0 {
			continue
		}
		start, err := indexSegment(filepath.Join(dir, segment.FileName(*s)), int(s.MaxIndex-s.BaseIndex)+1)
		if err != nil {
			return fmt.Errorf("%w: %w; %s", store.ErrCorrupt, err, m.wayOut)
		}
		s.IndexStart, indexed = uint64(start), true
	}
	if !indexed {
		return nil
	}
	return m.CommitState(*state)
}
