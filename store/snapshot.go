package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A snapshot is, in format 2, the magic bytes and then blocks:
//
//	length (4 bytes), CRC-32C of all payloads so far (4 bytes), payload
//
// all little-endian. A payload is a number of whole items, each with its kind in the first byte: the header,
// the leases by id, the entries of the oldest revision by key, the revisions after it with their events,
// and the end. Leases have no history: they are those of the newest revision. Keys of leases, and what a
// put's entry has of the one before it, follow from the rest. Numbers are varints, strings have their length
// before them.
const snapshotMagic = "inboard store snapshot\x00\x02"

const (
	itemHeader itemKind = 1 + iota // revision, compacted revision, leases granted, tenure, oldest revision
	itemLease                      // id, ttl, serial
	itemEntry                      // key, create revision, mod revision, version, lease, value
	itemRevision
	itemPut    // key, lease, value
	itemDelete // key
	itemEnd    // number of leases, of entries, of events
)

type itemKind byte

// snapshotBlock is the size from which on a block is written: it bounds what is held in memory to this and
// one item.
const snapshotBlock = 64 << 10

// ErrCorrupt means that what was read is not, or not all of, what was once written.
var ErrCorrupt = errors.New("store: corrupt data")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is a state of a store, with the kept history that leads to it, to be written out.
type Snapshot struct {
	machine machine
	// base is the oldest revision and records are those after it up to the machine's; without a base,
	// there is no history.
	base    *record
	records []*record
}

// Revision is the revision of the state.
func (s Snapshot) Revision() int64 { return s.machine.rev }

// WriteTo writes the snapshot; see Replica.Restore.
func (s Snapshot) WriteTo(w io.Writer) (int64, error) {
	info, err := s.write(context.Background(), w)
	return info.Bytes, err
}

// write writes the snapshot until ctx ends.
func (s Snapshot) write(ctx context.Context, to io.Writer) (BackupInfo, error) {
	w := &snapshotWriter{ctx: ctx, w: bufio.NewWriterSize(to, snapshotBlock)}
	w.raw([]byte(snapshotMagic))
	base := s.base
	if base == nil {
		base = &record{rev: s.machine.rev, tree: s.machine.tree}
	}
	w.header(&s.machine, base.rev)
	leases, entries, events := uint64(0), uint64(0), uint64(0)
	s.machine.leases.each(func(l *lease) bool {
		leases++
		w.lease(l)
		return w.flush(snapshotBlock)
	})
	base.tree.view().scan("", toEnd, func(e *Entry) bool {
		entries++
		w.entry(e)
		return w.flush(snapshotBlock)
	})
	for _, r := range s.records {
		w.b = append(w.b, byte(itemRevision))
		for i := range r.events {
			events++
			w.event(&r.events[i])
			w.flush(snapshotBlock)
		}
	}
	w.b = append(w.b, byte(itemEnd))
	for _, n := range [3]uint64{leases, entries, events} {
		w.b = binary.AppendUvarint(w.b, n)
	}
	if w.flush(1); w.err == nil {
		w.err = w.w.Flush()
	}
	return BackupInfo{Revision: s.machine.rev, Keys: s.machine.tree.len(), Leases: int(leases), Bytes: w.n}, w.err
}

type snapshotWriter struct {
	ctx context.Context
	w   *bufio.Writer
	b   []byte // the payload of the next block
	sum uint32
	n   int64
	err error
}

func (w *snapshotWriter) header(m *machine, oldest int64) {
	w.b = append(w.b, byte(itemHeader))
	w.b = binary.AppendVarint(w.b, m.rev)
	w.b = binary.AppendVarint(w.b, m.compacted)
	w.b = binary.AppendUvarint(w.b, m.granted)
	w.b = binary.AppendUvarint(w.b, m.tenure)
	w.b = binary.AppendVarint(w.b, oldest)
}

func (w *snapshotWriter) lease(l *lease) {
	w.b = binary.AppendVarint(append(w.b, byte(itemLease)), int64(l.id))
	w.b = binary.AppendVarint(w.b, int64(l.ttl))
	w.b = binary.AppendUvarint(w.b, l.serial)
}

func (w *snapshotWriter) entry(e *Entry) {
	w.b = appendString(append(w.b, byte(itemEntry)), e.Key)
	w.b = binary.AppendVarint(w.b, e.CreateRevision)
	w.b = binary.AppendVarint(w.b, e.ModRevision)
	w.b = binary.AppendVarint(w.b, e.Version)
	w.b = binary.AppendVarint(w.b, int64(e.Lease))
	w.b = appendString(w.b, e.Value)
}

func (w *snapshotWriter) event(ev *Event) {
	if ev.Type == EventDelete {
		w.b = appendString(append(w.b, byte(itemDelete)), ev.Entry.Key)
		return
	}
	w.b = appendString(append(w.b, byte(itemPut)), ev.Entry.Key)
	w.b = binary.AppendVarint(w.b, int64(ev.Entry.Lease))
	w.b = appendString(w.b, ev.Entry.Value)
}

// flush writes the block when it has at least size bytes, and tells whether to go on.
func (w *snapshotWriter) flush(size int) bool {
	if len(w.b) < size || w.err != nil {
		return w.err == nil
	}
	if w.err = w.ctx.Err(); w.err != nil {
		return false
	}
	w.sum = crc32.Update(w.sum, castagnoli, w.b)
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(w.b)))
	binary.LittleEndian.PutUint32(head[4:], w.sum)
	w.raw(head[:])
	w.raw(w.b)
	if w.b = w.b[:0]; cap(w.b) > 2*snapshotBlock {
		w.b = nil // one large value must not stay
	}
	return w.err == nil
}

func (w *snapshotWriter) raw(b []byte) {
	if w.err == nil {
		var n int
		n, w.err = w.w.Write(b)
		w.n += int64(n)
	}
}
