package apiserver

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What the server stores of an object is its protobuf message but for the resourceVersion, which is the
// revision of the key. So what clients get is the stored bytes with the version put in its place; nothing is
// decoded or encoded for it, and nothing kept. See TestProtoIsTheSame.

// message is an object's protobuf message around the place of its resourceVersion.
type message struct {
	// before ends with the metadata's fields that precede the version, after begins with those that follow
	// it and has the rest of the object.
	before, after []byte
	// metadata is the size of the metadata's message with the version.
	metadata int
	version  [20]byte
	digits   int
}

// Tags of the fields of a runtime.Unknown and of metadata, and of what an object begins with: its metadata.
const (
	tagUnknownType  = 1<<3 | 2
	tagUnknownRaw   = 2<<3 | 2
	tagMetadata     = 1<<3 | 2
	tagVersion      = 6<<3 | 2
	unknownTail     = "\x1a\x00\x22\x00" // no content encoding, no content type
	maxVarintLength = binary.MaxVarintLen64
)

// lengthPrefixed takes a field of wire type 2 off b: its content and what follows.
func lengthPrefixed(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != tag {
		return nil, nil, false
	}
	n, used := binary.Uvarint(b[1:])
	if used <= 0 || n > uint64(len(b)-1-used) {
		return nil, nil, false
	}
	b = b[1+used:]
	return b[:n:n], b[n:], true
}

// storedMessage returns the object's message in a stored value, without copying it.
func storedMessage(value []byte) ([]byte, bool) {
	b, ok := bytes.CutPrefix(value, protoMagic)
	if !ok {
		return nil, false
	}
	if _, b, ok = lengthPrefixed(b, tagUnknownType); !ok {
		return nil, false
	}
	raw, rest, ok := lengthPrefixed(b, tagUnknownRaw)
	return raw, ok && string(rest) == unknownTail
}

// messageAt takes a stored value apart for an object at a revision. Ok is false for values that the server
// writes differently, such as JSON; these are decoded and encoded.
func messageAt(value []byte, revision int64) (m message, ok bool) {
	raw, ok := storedMessage(value)
	if !ok {
		return m, false
	}
	metadata, rest, ok := lengthPrefixed(raw, tagMetadata)
	if !ok {
		return m, false
	}
	fields := metadata
	for tag := byte(1<<3 | 2); tag < tagVersion; tag += 1 << 3 { // name to uid, which are always there
		if _, fields, ok = lengthPrefixed(fields, tag); !ok {
			return m, false
		}
	}
	if len(fields) < 2 || fields[0] != tagVersion || fields[1] != 0 {
		return m, false
	}
	m.digits = len(strconv.AppendInt(m.version[:0], revision, 10))
	m.before, m.after = metadata[:len(metadata)-len(fields)+1], raw[len(raw)-len(rest)-len(fields)+2:]
	m.metadata = len(metadata) + m.digits
	return m, true
}

func (m *message) size() int {
	return 1 + uvarintSize(m.metadata) + len(m.before) + 1 + m.digits + len(m.after)
}

func (m *message) append(buf []byte) []byte {
	buf = binary.AppendUvarint(append(buf, tagMetadata), uint64(m.metadata))
	buf = append(buf, m.before...)
	buf = append(append(buf, byte(m.digits)), m.version[:m.digits]...)
	return append(buf, m.after...)
}

func uvarintSize(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }

// appendMessage appends a field that holds a message (wire type 2).
func appendMessage(buf []byte, field byte, message []byte) []byte {
	return append(binary.AppendUvarint(append(buf, field<<3|2), uint64(len(message))), message...)
}

// messageSize is how many bytes a field takes that holds a message of so many bytes.
func messageSize(message int) int { return 1 + uvarintSize(message) + message }

// envelope wraps messages as Kubernetes does: in a runtime.Unknown after a magic number.
type envelope []byte // up to the message

func newEnvelope(tm metav1.TypeMeta) envelope {
	inner := (&runtime.TypeMeta{APIVersion: tm.APIVersion, Kind: tm.Kind})
	b, _ := inner.Marshal() // it writes to memory
	return appendMessage(bytes.Clone(protoMagic), tagUnknownType>>3, b)
}

func (e envelope) size(message int) int { return len(e) + messageSize(message) + len(unknownTail) }

// begin appends all before the message, end all after it.
func (e envelope) begin(buf []byte, message int) []byte {
	return binary.AppendUvarint(append(append(buf, e...), tagUnknownRaw), uint64(message))
}

func (e envelope) end(buf []byte) []byte { return append(buf, unknownTail...) }

// wrap returns a message in its envelope.
func (e envelope) wrap(message []byte) []byte {
	buf := make([]byte, 0, e.size(len(message)))
	return e.end(append(e.begin(buf, len(message)), message...))
}

// encoded is the protobuf message of an object: taken from its stored value, or made.
type encoded struct {
	stored message
	made   []byte
}

func (e *encoded) size() int {
	if e.made != nil {
		return len(e.made)
	}
	return e.stored.size()
}

func (e *encoded) append(buf []byte) []byte {
	if e.made != nil {
		return append(buf, e.made...)
	}
	return e.stored.append(buf)
}

// protoList is a list in protobuf: in all lists of the API, field 1 is the metadata and field 2 the items. It is put
// together from its items' messages while it is sent: a list may be many megabytes.
type protoList struct {
	envelope envelope
	meta     []byte
	items    []encoded
	message  int // its size
}

func newProtoList(head listHead, items []found, as *resource) (*protoList, error) {
	meta, err := head.ListMeta.Marshal()
	if err != nil {
		return nil, err
	}
	l := &protoList{envelope: newEnvelope(head.TypeMeta), meta: meta, items: make([]encoded, len(items)), message: messageSize(len(meta))}
	for i := range items {
		if l.items[i], err = items[i].encodeProto(as); err != nil {
			return nil, err
		}
		l.message += messageSize(l.items[i].size())
	}
	return l, nil
}

func (l *protoList) size() int { return l.envelope.size(l.message) }

// listPiece is how much of a list is sent at once, in bytes.
const listPiece = 128 << 10

var listPieces = sync.Pool{New: func() any { return new([]byte) }}

func (l *protoList) writeTo(w io.Writer) error {
	kept := listPieces.Get().(*[]byte)
	defer listPieces.Put(kept)
	buf := appendMessage(l.envelope.begin((*kept)[:0], l.message), 1, l.meta)
	for i := range l.items {
		size := l.items[i].size()
		if len(buf) > 0 && len(buf)+size > listPiece {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf = binary.AppendUvarint(append(buf, 2<<3|2), uint64(size))
		buf = l.items[i].append(buf)
	}
	_, err := w.Write(l.envelope.end(buf))
	if cap(buf) <= 2*listPiece {
		*kept = buf
	}
	return err
}
