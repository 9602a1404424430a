package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Entry is the state of one key at one revision. It is immutable and shared by everyone who reads
// it: no field, and nothing in Value, may be written to.
type Entry struct {
	Key   string
	Value []byte
	// CreateRevision is the revision in which the key came to exist, ModRevision the one of its
	// last change.
	CreateRevision, ModRevision int64
	// Version counts the changes since the key was created; it starts at 1.
	Version int64
	// Lease is the lease that the key goes with, 0 for none.
	Lease LeaseID

	// slots is a list of what was derived from the value. Most entries have none or one, so that
	// a list costs less than a map: one word in an entry that nobody has decoded.
	slots atomic.Pointer[slot]
}

type slot struct {
	key   any
	once  sync.Once
	done  atomic.Bool // once is over
	value any
	err   error
	next  *slot
}

// decodedKey is the slot of Decoded.
type decodedKey struct{}

var errMakePanicked = errors.New("store: the function that derives a value from the entry panicked")

// Decoded returns what make makes of the entry. It is made once, by whoever asks first, and
// shared by all: it must be treated as read-only. An error is kept as well. When the entry was replaced long
// ago it is let go of, and made again for who still asks. On the replica that wrote
// the entry it is the writer's Op.Decoded, when that was given, and make is not called.
func (e *Entry) Decoded(make func(*Entry) (any, error)) (any, error) {
	return e.Cached(decodedKey{}, make)
}

// Cached is like Decoded for further forms of the value, such as its encoding in another format. Each
// comparable key has its own; use an unexported type of your package as the key. make may call Decoded,
// or Cached with other keys. What is cached is kept as Decoded is.
func (e *Entry) Cached(key any, make func(*Entry) (any, error)) (any, error) {
	s := e.slot(key)
	s.once.Do(func() {
		s.err = errMakePanicked // stays when make does not return
		s.value, s.err = make(e)
		s.done.Store(true)
	})
	return s.value, s.err
}

// Peek returns what Decoded made, if it did already and without an error.
func (e *Entry) Peek() (value any, ok bool) {
	for s := e.slots.Load(); s != nil; s = s.next {
		if s.key == any(decodedKey{}) {
			if !s.done.Load() || s.err != nil {
				return nil, false
			}
			return s.value, true
		}
	}
	return nil, false
}

// slot finds or adds the slot of a key.
func (e *Entry) slot(key any) *slot {
	var added *slot
	for {
		head := e.slots.Load()
		for s := head; s != nil; s = s.next {
			if s.key == key {
				return s
			}
		}
		if added == nil {
			added = &slot{key: key}
		}
		added.next = head
		if e.slots.CompareAndSwap(head, added) {
			return added
		}
	}
}

// presetDecoded sets what Decoded returns; the entry must not be shared yet.
func (e *Entry) presetDecoded(v any) {
	s := &slot{key: decodedKey{}, value: v}
	s.once.Do(func() {})
	s.done.Store(true)
	e.slots.Store(s)
}

// forget lets go of what was derived. Who is about to derive something gets it all the same.
func (e *Entry) forget() { e.slots.Store(nil) }

// size is what the entry holds of its own, in bytes, for the bound on history.
func (e *Entry) size() int { return len(e.Key) + len(e.Value) }
