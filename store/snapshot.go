package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A snapshot is, in format 1: the magic bytes, the revision, the compacted revision, then for each
// entry in key order a 1 and its fields, then a 0, the number of entries, and the CRC-32C of all
// before it in 4 bytes.
const snapshotMagic = "inboard store snapshot\x00\x01"

// ErrCorrupt means that what was read is not, or not all of, what was once written.
var ErrCorrupt = errors.New("store: corrupt data")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is a state of a store, to be written out.
type Snapshot struct{ machine machine }

// Revision is the revision of the state.
func (s Snapshot) Revision() int64 { return s.machine.rev }

// WriteTo writes the snapshot; see Replica.Restore.
func (s Snapshot) WriteTo(w io.Writer) (int64, error) {
	out := snapshotWriter{sum: crc32.New(castagnoli)}
	out.w = bufio.NewWriterSize(w, 64<<10)
	b := append(make([]byte, 0, 512), snapshotMagic...)
	b = binary.AppendVarint(b, s.machine.rev)
	out.write(binary.AppendVarint(b, s.machine.compacted))
	count := uint64(0)
	s.machine.tree.view().scan("", toEnd, func(e *Entry) bool {
		count++
		b = appendString(append(b[:0], 1), e.Key)
		b = binary.AppendVarint(b, e.CreateRevision)
		b = binary.AppendVarint(b, e.ModRevision)
		b = binary.AppendVarint(b, e.Version)
		b = binary.AppendVarint(b, int64(e.Lease))
		out.write(binary.AppendUvarint(b, uint64(len(e.Value))))
		out.write(e.Value)
		return out.err == nil
	})
	out.write(binary.AppendUvarint(append(b[:0], 0), count))
	out.write(out.sum.Sum(nil))
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.n, out.err
}

type snapshotWriter struct {
	w   *bufio.Writer
	sum hash.Hash32
	n   int64
	err error
}

func (w *snapshotWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	var n int
	n, w.err = w.w.Write(b)
	w.n += int64(n)
	_, _ = w.sum.Write(b)
}

// readSnapshot reads a whole snapshot and nothing after it.
func readSnapshot(from io.Reader) (machine, error) {
	r := snapshotReader{r: bufio.NewReaderSize(from, 64<<10), sum: crc32.New(castagnoli)}
	m := newMachine()
	if string(r.take(uint64(len(snapshotMagic)))) != snapshotMagic {
		return m, fmt.Errorf("%w: not a snapshot of a store", ErrCorrupt)
	}
	m.rev, m.compacted = r.varint(), r.varint()
	edit := m.tree.edit()
	count, last := uint64(0), ""
	for r.byte() == 1 {
		e := &Entry{Key: string(r.take(r.uvarint()))}
		e.CreateRevision, e.ModRevision, e.Version = r.varint(), r.varint(), r.varint()
		e.Lease = LeaseID(r.varint())
		e.Value = r.take(r.uvarint())
		if r.err != nil || e.Key <= last || e.ModRevision > m.rev {
			break
		}
		edit.load(e)
		last = e.Key
		count++
	}
	r.end(count)
	if r.err != nil {
		return m, fmt.Errorf("%w: snapshot, after %d entries: %w", ErrCorrupt, count, r.err)
	}
	m.tree = edit.commit()
	return m, nil
}

// snapshotReader reads and sums up; after the first error it returns zero values only.
type snapshotReader struct {
	r    *bufio.Reader
	sum  hash.Hash32
	last byte // the last byte that ReadByte returned
	err  error
}

// ReadByte implements io.ByteReader for binary.ReadUvarint.
func (r *snapshotReader) ReadByte() (byte, error) {
	if r.err != nil {
		return 0, r.err
	}
	c, err := r.r.ReadByte()
	if err != nil {
		r.err = noEOF(err)
		return 0, r.err
	}
	r.last = c
	_, _ = r.sum.Write([]byte{c})
	return c, nil
}

func (r *snapshotReader) byte() byte {
	c, _ := r.ReadByte()
	return c
}

func (r *snapshotReader) uvarint() uint64 {
	v, err := binary.ReadUvarint(r)
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

func (r *snapshotReader) varint() int64 {
	v, err := binary.ReadVarint(r)
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

// take reads n bytes; it trusts n only as far as the bytes are there.
func (r *snapshotReader) take(n uint64) []byte {
	const step = 1 << 20
	var b []byte
	for n > 0 && r.err == nil {
		part := min(n, step)
		at := len(b)
		b = append(b, make([]byte, part)...)
		_, err := io.ReadFull(r.r, b[at:])
		r.err = noEOF(err)
		n -= part
	}
	_, _ = r.sum.Write(b)
	return b
}

// end reads what follows the last entry.
func (r *snapshotReader) end(count uint64) {
	if r.err == nil && r.last != 0 {
		r.err = errMalformed
	}
	if n := r.uvarint(); r.err == nil && n != count {
		r.err = fmt.Errorf("it should have %d", n)
	}
	want := r.sum.Sum(nil)
	if got := r.take(4); r.err == nil && string(got) != string(want) {
		r.err = errors.New("wrong checksum")
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
