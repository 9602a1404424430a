package raft

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// This package's protocol: frames, in both directions of one connection. A frame is
//
//	length of what follows (4 bytes), kind (1 byte), number (8 bytes), body
//
// with little-endian numbers. Each side first sends a kindHello. The side that has dialed then asks, with a
// number of its own for each question, and the other side answers in any order, the number repeated.
const (
	frameFixed = 4 + 1 + 8
	// maxFrameBytes bounds a frame's body: commands are the largest.
	maxFrameBytes = 64 << 20
	// maxHelloBytes bounds the first frame of a connection.
	maxHelloBytes = 4 << 10

	protocolVersion = 1
)

// Kinds of frames: questions, then answers.
const (
	kindHello     = 1  // version, own id, id of the member that is called
	kindPropose   = 2  // a command -> index, term
	kindReadIndex = 3  // -> index to wait for, commit index, term
	kindTerm      = 4  // -> term
	kindCommitted = 5  // term, leader's id and address, commit index -> nothing
	kindKeepAlive = 6  // lease -> duration
	kindRemaining = 7  // lease -> duration
	kindStatus    = 8  // -> status
	kindChange    = 9  // what, member -> nothing
	kindTransfer  = 10 // id -> nothing

	kindOK    = 64 // the answer
	kindError = 65 // an error: its code and text
)

var errFrame = errors.New("raft: malformed message")

// frame is one message of the protocol.
type frame struct {
	kind   byte
	number uint64
	body   []byte
}

func writeFrame(w io.Writer, f frame) error {
	if len(f.body) > maxFrameBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", errFrame, len(f.body), maxFrameBytes)
	}
	var head [frameFixed]byte
	binary.LittleEndian.PutUint32(head[:], uint32(frameFixed-4+len(f.body)))
	head[4] = f.kind
	binary.LittleEndian.PutUint64(head[5:], f.number)
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(f.body)
	return err
}

// readFrame reads a frame whose body has no more than limit bytes. It trusts the length only as far as the
// bytes are there.
func readFrame(r *bufio.Reader, limit int) (frame, error) {
	var head [frameFixed]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := int64(binary.LittleEndian.Uint32(head[:])) - (frameFixed - 4)
	if size < 0 || size > int64(limit) {
		return frame{}, fmt.Errorf("%w: a body of %d bytes, the limit is %d", errFrame, size, limit)
	}
	f := frame{kind: head[4], number: binary.LittleEndian.Uint64(head[5:])}
	const step = 1 << 20
	for rest := int(size); rest > 0; {
		part, at := min(rest, step), len(f.body)
		f.body = append(f.body, make([]byte, part)...)
		if _, err := io.ReadFull(r, f.body[at:]); err != nil {
			return frame{}, err
		}
		rest -= part
	}
	return f, nil
}

// fields writes the body of a frame.
type fields struct{ b []byte }

func (f *fields) uint(v uint64) *fields {
	f.b = binary.AppendUvarint(f.b, v)
	return f
}

func (f *fields) int(v int64) *fields {
	f.b = binary.AppendVarint(f.b, v)
	return f
}

func (f *fields) string(s string) *fields {
	f.b = binary.AppendUvarint(f.b, uint64(len(s)))
	f.b = append(f.b, s...)
	return f
}

func (f *fields) bool(v bool) *fields {
	if v {
		return f.uint(1)
	}
	return f.uint(0)
}

// fieldReader takes a body apart. After the first mistake it returns zero values only; end tells of it.
type fieldReader struct {
	b   []byte
	bad bool
}

func (r *fieldReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fieldReader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fieldReader) bool() bool { return r.uint() != 0 }

func (r *fieldReader) string() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// end returns an error unless everything was read, and well-formed.
func (r *fieldReader) end() error {
	if r.bad || len(r.b) > 0 {
		return errFrame
	}
	return nil
}
