package store

import (
	"encoding/binary"
	"errors"
)

// errMalformed means that bytes of a command or a snapshot are not what this package writes.
var errMalformed = errors.New("store: malformed encoding")

// appendString appends a length and the bytes.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// wireReader takes an encoding apart. After the first mistake it returns zero values only, so that the
// caller asks for err once.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) fail() {
	r.bad = true
	r.b = nil
}

func (r *wireReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *wireReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// take returns the next n bytes of the encoding itself.
func (r *wireReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) string() string { return string(r.take(r.uvarint())) }

// bytes returns a copy: a kept value must not hold on to the whole encoding.
func (r *wireReader) bytes() []byte {
	b := r.take(r.uvarint())
	if len(b) == 0 {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// count reads the length of a list whose elements take size bytes or more each, so that a wrong one
// cannot make the caller allocate more than the encoding could hold.
func (r *wireReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

// end returns an error unless all was read, and well-formed.
func (r *wireReader) end() error {
	if r.bad || len(r.b) != 0 {
		return errMalformed
	}
	return nil
}
