package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// The files of the log, as raft-wal writes them (its segment/format.go): a header of 32 bytes, then
// frames of 8-byte headers (type, 3 reserved bytes, length or checksum) and payloads padded to 8 bytes.
// A commit frame ends what was synced at once and has the CRC-32C of all since the last one.
const (
	segmentMagic  = 0x58eb6b0d // little-endian, at the beginning
	segmentHeader = 32
	frameHeader   = 8

	frameEntry  = 1
	frameIndex  = 2
	frameCommit = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentTail is what a log file holds.
type segmentTail struct {
	// end is where the last whole batch ends; behind it is nothing that was acknowledged.
	end int
	// entries counts the entries before end.
	entries int
	// indexStart is not 0 when the file is full: it is where the array of the entries' offsets is.
	indexStart int
}

// errInMiddle means that something between whole batches is damaged.
var errInMiddle = errors.New("damaged in the middle, with whole entries behind the damage")

// errNoHeader means that a file begins with something else than what raft-wal writes first of all. A write
// that a crash has cut off leaves zeros.
var errNoHeader = errors.New("damaged at its beginning")

// readSegment finds the last whole batch in a file of the log. A write that a crash has cut off leaves
// a last batch that is not whole: it was never acknowledged. A batch that is not whole before one that
// is, is damage.
func readSegment(b []byte) (segmentTail, error) {
	var tail segmentTail
	if len(b) >= segmentHeader {
		if magic := binary.LittleEndian.Uint32(b); magic != 0 && magic != segmentMagic {
			return tail, errNoHeader
		}
	}
	for {
		next, ok := readBatch(b, tail.end)
		if !ok {
			break
		}
		next.entries += tail.entries
		tail = next
	}
	for at := (tail.end + frameHeader) &^ (frameHeader - 1); at+frameHeader <= len(b); at += frameHeader {
		if b[at] != frameEntry {
			continue
		}
		if _, ok := readBatch(b, at); ok {
			return tail, errInMiddle
		}
	}
	return tail, nil
}

// readBatch reads the frames from start to a commit, and tells whether they are whole.
func readBatch(b []byte, start int) (segmentTail, bool) {
	at := start
	if start == 0 {
		at = segmentHeader
	}
	var batch segmentTail
	for at+frameHeader <= len(b) {
		size := binary.LittleEndian.Uint32(b[at+4:])
		switch b[at] {
		case frameCommit:
			batch.end = at + frameHeader
			return batch, size == crc32.Checksum(b[start:at], castagnoli)
		case frameEntry:
			batch.entries++
		case frameIndex:
			batch.indexStart = at + frameHeader
		default:
			return batch, false
		}
		padded := (int(size) + frameHeader - 1) &^ (frameHeader - 1)
		if padded > len(b)-at {
			return batch, false
		}
		at += frameHeader + padded
	}
	return batch, false
}

// segmentWant is what is known to be in a file of the log, at least.
type segmentWant struct{ entries, size int }

// errLostEnd means that there is less in a file than was on the disk already.
var errLostEnd = errors.New("shorter than it was")

// repairSegment reads a file of the log and clears what a crash has left behind its last whole batch. What is left
// is on the disk then: a process that was killed may not have come to sync what it wrote.
func repairSegment(path string, want segmentWant) (segmentTail, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return segmentTail{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return segmentTail{}, err
	}
	tail, err := readSegment(b)
	if err != nil {
		return tail, fmt.Errorf("%s is %w", path, err)
	}
	if tail.entries < want.entries || len(b) < want.size {
		return tail, fmt.Errorf("%s is %w: it has %d entries in %d bytes of at least %d in %d",
			path, errLostEnd, tail.entries, len(b), want.entries, want.size)
	}
	rest := b[tail.end:]
	for len(rest) > 0 && rest[len(rest)-1] == 0 {
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 0 && tail.entries == 0 {
		return tail, nil
	}
	clear(rest)
	if _, err := f.WriteAt(rest, int64(tail.end)); err != nil {
		return tail, err
	}
	return tail, f.Sync()
}
