package apiserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// nested returns a message with so many in each other.
func nested(levels int) []byte {
	var back []byte // from the inside out, backwards
	for range levels {
		head := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(back)))
		slices.Reverse(head)
		back = append(back, head...)
	}
	slices.Reverse(back)
	return back
}

// node is a type that nests.
type node struct{ Next map[string]*node }

func TestProtoDepth(t *testing.T) {
	for levels, want := range map[int]bool{0: false, 1: false, 9999: false, 10000: false, 10001: true, 400000: true} {
		if got := isDeeper(nested(levels), 10000); got != want {
			t.Errorf("%d levels: %v", levels, got)
		}
	}
	deep := nested(20000)
	for _, tc := range []struct {
		name    string
		message []byte
		obj     any
		want    error
	}{
		{"a type that nests", deep, &node{}, errProtoDepth},
		{"behind other fields", slices.Concat([]byte{2<<3 | 2, 1, 'a', 3 << 3, 7, 4<<3 | 1, 0, 0, 0, 0, 0, 0, 0, 0, 5<<3 | 5, 0, 0, 0, 0}, deep), &node{}, errProtoDepth},
		{"behind what is no message", slices.Concat([]byte{2<<3 | 2, 3, 0xff, 0xff, 0xff}, deep), &node{}, errProtoDepth},
		{"bytes of another type", deep, &corev1.Secret{}, nil},
		{"long, not deep", bytes.Repeat(nested(10), 5000), &node{}, nil},
	} {
		if err := checkProtoDepth(tc.message, tc.obj); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func FuzzProtoDepth(f *testing.F) {
	f.Add(nested(30), 10)
	f.Add([]byte{1<<3 | 2, 3, 1 << 3, 0xff, 0xff, 2<<3 | 1, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte, levels int) {
		levels = max(levels, 0)
		if isDeeper(b, levels) && len(b) < 2*(levels+1) {
			t.Errorf("%d bytes are more than %d levels", len(b), levels)
		}
	})
}
