package apiserver

import (
	"encoding/binary"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/inboard/inboard/store"
)

// storedLabels are the labels of an object in protobuf, read where they are stored. It is the metadata's message from
// the first label on.
type storedLabels []byte

var _ labels.Labels = storedLabels(nil)

// Tags of the metadata's labels and of the messages of a map's pairs.
const (
	tagLabels   = 11<<3 | 2
	tagMapKey   = 1<<3 | 2
	tagMapValue = 2<<3 | 2
)

// labelsIn finds the labels in a stored value. Ok is false when it is not as the server writes it, fields in order
// and each once; it must be decoded then.
func labelsIn(value []byte) (found storedLabels, ok bool) {
	raw, ok := storedMessage(value)
	if !ok {
		return nil, false
	}
	metadata, rest, ok := lengthPrefixed(raw, tagMetadata)
	if !ok || !inOrder(rest, tagMetadata+8) {
		return nil, false
	}
	b := metadata
	for len(b) > 0 {
		tag, next, ok := skipField(b)
		if !ok {
			return nil, false
		}
		if tag >= tagLabels {
			break
		}
		b = next
	}
	found = b
	for len(b) > 0 && b[0] == tagLabels {
		if b, ok = skipPair(b); !ok {
			return nil, false
		}
	}
	return found, inOrder(b, tagLabels+8)
}

// skipPair returns what follows a label with key and value.
func skipPair(b []byte) (rest []byte, ok bool) {
	pair, rest, ok := lengthPrefixed(b, tagLabels)
	if !ok {
		return nil, false
	}
	if _, pair, ok = lengthPrefixed(pair, tagMapKey); !ok {
		return nil, false
	}
	_, pair, ok = lengthPrefixed(pair, tagMapValue)
	return rest, ok && len(pair) == 0
}

// inOrder tells that a message consists of fields from a tag on, none of which leads back.
func inOrder(b []byte, from uint64) bool {
	for len(b) > 0 {
		tag, rest, ok := skipField(b)
		if !ok || tag|7 < from|7 {
			return false
		}
		b, from = rest, tag
	}
	return true
}

// skipField returns the tag of the first field and what follows it.
func skipField(b []byte) (tag uint64, rest []byte, ok bool) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	b = b[n:]
	size := uint64(0)
	switch tag & 7 {
	case 0:
		_, n = binary.Uvarint(b)
	case 1:
		n, size = 0, 8
	case 2:
		size, n = binary.Uvarint(b)
	case 5:
		n, size = 0, 4
	default:
		return 0, nil, false
	}
	if n < 0 || n == 0 && (tag&7 == 0 || tag&7 == 2) || size > uint64(len(b)-n) {
		return 0, nil, false
	}
	return tag, b[uint64(n)+size:], true
}

// Lookup returns a label's value, and whether there is such a label.
func (l storedLabels) Lookup(label string) (value string, ok bool) {
	for b := l; len(b) > 0 && b[0] == tagLabels; {
		pair, rest, _ := lengthPrefixed(b, tagLabels)
		key, pair, _ := lengthPrefixed(pair, tagMapKey)
		if string(key) == label {
			v, _, _ := lengthPrefixed(pair, tagMapValue)
			value, ok = string(v), true // the last one counts
		}
		b = rest
	}
	return value, ok
}

// Get returns a label's value.
func (l storedLabels) Get(label string) string { v, _ := l.Lookup(label); return v }

// Has tells whether there is a label.
func (l storedLabels) Has(label string) bool { _, ok := l.Lookup(label); return ok }

// labelsOf returns the labels of an entry's object, without decoding it if possible.
func (r *resource) labelsOf(e *store.Entry) (labels.Labels, error) {
	if _, made := e.Peek(); !made && r.Custom == nil {
		if l, ok := labelsIn(e.Value); ok {
			return l, nil
		}
	}
	obj, err := r.object(e)
	if err != nil {
		return nil, err
	}
	return labels.Set(obj.GetLabels()), nil
}
