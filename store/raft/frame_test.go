package raft

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/inboard/inboard/store"
)

func TestFrameRoundTrip(t *testing.T) {
	var b bytes.Buffer
	for i, body := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("y"), 3<<20)} {
		f := frame{kind: byte(i + 1), number: uint64(i) << 40, body: body}
		if err := writeFrame(&b, f); err != nil {
			t.Fatal(err)
		}
		got, err := readFrame(bufio.NewReader(&b), maxFrameBytes)
		if err != nil || got.kind != f.kind || got.number != f.number || !bytes.Equal(got.body, f.body) {
			t.Errorf("frame %d comes back as kind %d, number %d, %d bytes: %v", i, got.kind, got.number, len(got.body), err)
		}
	}
	if err := writeFrame(&b, frame{body: make([]byte, maxFrameBytes+1)}); !errors.Is(err, errFrame) {
		t.Errorf("a frame that is too large: %v", err)
	}
}

// Errors are what they were when they come from another member.
func TestErrorRoundTrip(t *testing.T) {
	for _, want := range []error{
		store.ErrNoLeader, store.ErrUnknownOutcome, store.ErrLeaseNotFound, store.ErrInvalid, store.ErrTooLarge,
		ErrNoMember, ErrMemberExists, ErrNotCaughtUp,
	} {
		got := readError(appendError(new(fields), fmt.Errorf("because: %w", want)).b)
		if !errors.Is(got, want) || got.Error() != "because: "+want.Error() {
			t.Errorf("%v comes back as %v", want, got)
		}
	}
	if got := readError(appendError(new(fields), errors.New("other")).b); !errors.Is(got, errRemote) {
		t.Errorf("another error comes back as %v", got)
	}
}

// FuzzReadFrame reads anything as frames and their bodies: no panic, and no more memory than there are bytes.
func FuzzReadFrame(f *testing.F) {
	var b bytes.Buffer
	_ = writeFrame(&b, frame{kind: kindChange, number: 1, body: appendMember(new(fields).uint(changeAdd), Member{ID: "a", Address: "b"}).b})
	f.Add(b.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			got, err := readFrame(r, maxFrameBytes)
			if err != nil {
				return
			}
			if len(got.body) > len(b) {
				t.Fatalf("%d bytes from %d", len(got.body), len(b))
			}
			body := fieldReader{b: got.body}
			_, m := body.uint(), readMember(&body)
			_ = body.end()
			again := fieldReader{b: appendMember(new(fields), m).b}
			if same := readMember(&again); same != m {
				t.Fatalf("%+v becomes %+v", m, same)
			}
			_, _ = readStatus(got.body)
			if readError(got.body) == nil {
				t.Fatal("an error that is none")
			}
		}
	})
}
