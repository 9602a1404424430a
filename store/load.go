package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// readSnapshot reads a whole snapshot and nothing after it. It trusts nothing that it reads: the error is
// ErrCorrupt unless what was read is a state that a store can have.
func readSnapshot(from io.Reader) (Snapshot, error) {
	r := snapshotReader{r: bufio.NewReaderSize(from, snapshotBlock)}
	return r.snapshot()
}

func (r *snapshotReader) snapshot() (Snapshot, error) {
	l := newLoader()
	err := r.magic()
	for err == nil && !l.ended {
		err = r.block(l)
	}
	if err == nil {
		err = l.finish()
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("%w: snapshot, after %d bytes and %d entries: %w", ErrCorrupt, r.n, l.entries, err)
	}
	return Snapshot{machine: l.machine, base: l.base, records: l.records}, nil
}

// snapshotReader takes the blocks apart.
type snapshotReader struct {
	r      *bufio.Reader
	buf    bytes.Buffer
	sum    uint32
	n      int64
	digest hash.Hash // of all that was read, when wanted
}

func (r *snapshotReader) magic() error {
	var magic [len(snapshotMagic)]byte
	if err := r.read(magic[:]); err != nil {
		return err
	}
	const name = len(snapshotMagic) - 1
	if string(magic[:name]) != snapshotMagic[:name] {
		return errors.New("not a snapshot of a store")
	}
	if magic[name] != snapshotMagic[name] {
		return fmt.Errorf("its format is %d; this version reads format %d", magic[name], snapshotMagic[name])
	}
	return nil
}

// block reads a block and loads its items.
func (r *snapshotReader) block(l *loader) error {
	var head [8]byte
	if err := r.read(head[:]); err != nil {
		return err
	}
	// The buffer grows with what is there, whatever the length says.
	r.buf.Reset()
	size := int64(binary.LittleEndian.Uint32(head[:]))
	n, err := io.CopyN(&r.buf, r.r, size)
	r.count(r.buf.Bytes())
	if err != nil {
		return fmt.Errorf("%d bytes of %d: %w", n, size, noEOF(err))
	}
	r.sum = crc32.Update(r.sum, castagnoli, r.buf.Bytes())
	if r.sum != binary.LittleEndian.Uint32(head[4:]) {
		return errors.New("wrong checksum")
	}
	return l.items(r.buf.Bytes())
}

func (r *snapshotReader) read(b []byte) error {
	n, err := io.ReadFull(r.r, b)
	r.count(b[:n])
	return noEOF(err)
}

func (r *snapshotReader) count(b []byte) {
	r.n += int64(len(b))
	if r.digest != nil {
		_, _ = r.digest.Write(b)
	}
}

// padding reads what follows a backup: zeros, and at the very end perhaps the SHA-256 of all before it, as
// etcdctl keeps it.
func (r *snapshotReader) padding() error {
	var tail []byte // the last bytes, up to the length of a sum
	var chunk [4096]byte
	for {
		n, err := r.r.Read(chunk[:])
		tail = append(tail, chunk[:n]...)
		if more := len(tail) - sha256.Size; more > 0 {
			if !isZero(tail[:more]) {
				return fmt.Errorf("%w: something follows the backup", ErrCorrupt)
			}
			r.count(tail[:more])
			tail = append(tail[:0], tail[more:]...)
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case isZero(tail):
			r.count(tail)
			return nil
		case string(tail) != string(r.digest.Sum(nil)):
			return fmt.Errorf("%w: something follows the backup, or its SHA-256 is wrong", ErrCorrupt)
		default:
			r.count(tail)
			return nil
		}
	}
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
