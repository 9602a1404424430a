package raft

import (
	"encoding/binary"
	"hash/crc32"
	"os"
)

// indexSegment writes the index of a file of the log, which must have at least so many entries, behind its last
// whole batch, unless it is there, and returns where the array of offsets is.
func indexSegment(path string, atLeast int) (int, error) {
	tail, err := repairSegment(path, segmentWant{entries: atLeast})
	if err != nil {
		return 0, err
	}
	if tail.indexStart != 0 {
		return tail.indexStart, nil // a process ended before it had noted it
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, tail.end)
	if _, err := f.ReadAt(b, 0); err != nil {
		return 0, err
	}
	if _, err := f.WriteAt(indexBatch(entryOffsets(b)), int64(tail.end)); err != nil {
		return 0, err
	}
	return tail.end + frameHeader, f.Sync()
}

// entryOffsets are the places of the entries' frames in whole batches.
func entryOffsets(b []byte) []uint32 {
	var offsets []uint32
	for at := segmentHeader; at+frameHeader <= len(b); {
		size := int(binary.LittleEndian.Uint32(b[at+4:]))
		switch b[at] {
		case frameCommit:
			size = 0
		case frameEntry:
			offsets = append(offsets, uint32(at))
		}
		at += frameHeader + (size+frameHeader-1)&^(frameHeader-1)
	}
	return offsets
}

// indexBatch is a frame with the offsets, and the frame that commits it.
func indexBatch(offsets []uint32) []byte {
	b := make([]byte, frameHeader, 2*frameHeader+4*len(offsets)+frameHeader)
	b[0] = frameIndex
	binary.LittleEndian.PutUint32(b[4:], uint32(4*len(offsets)))
	for _, at := range offsets {
		b = binary.LittleEndian.AppendUint32(b, at)
	}
	for len(b)%frameHeader != 0 {
		b = append(b, 0)
	}
	sum := crc32.Checksum(b, castagnoli)
	b = append(b, frameCommit, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, sum)
}
