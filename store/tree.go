package store

import (
	"unsafe"

	iradix "github.com/hashicorp/go-immutable-radix"
)

// tree is the key space at one revision: a persistent radix tree, so that a snapshot is a pointer and
// an old revision costs the few nodes that differ.
type tree = iradix.Tree

func newTree() *tree { return iradix.New() }

// keyBytes is a key as the tree wants it, without a copy: the tree never writes to keys, and keeps the
// bytes of the entry's own string instead of a second copy of each key.
func keyBytes(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// entryOf returns the key's entry under root, nil when there is none.
func entryOf(root *iradix.Node, key string) *Entry {
	v, ok := root.Get(keyBytes(key))
	if !ok {
		return nil
	}
	return v.(*Entry)
}

// scan calls f with the entries of a range in key order until f returns false.
func scan(root *iradix.Node, start, end string, f func(*Entry) bool) {
	if end == "" {
		if e := entryOf(root, start); e != nil {
			f(e)
		}
		return
	}
	it := root.Iterator()
	prefix := isPrefix(start, end)
	if prefix {
		it.SeekPrefix(keyBytes(start))
	} else {
		it.SeekLowerBound(keyBytes(start))
	}
	for {
		_, v, ok := it.Next()
		if !ok {
			return
		}
		e := v.(*Entry)
		if !prefix && end != toEnd && e.Key >= end {
			return
		}
		if !f(e) {
			return
		}
	}
}

// collect returns up to limit entries of a range, and how many there are.
func collect(root *iradix.Node, start, end string, limit int) (entries []*Entry, count int) {
	scan(root, start, end, func(e *Entry) bool {
		count++
		if limit == 0 || count <= limit {
			entries = append(entries, e)
		}
		return true
	})
	return entries, count
}

// page returns up to limit entries of a range, and whether there are more.
func page(root *iradix.Node, start, end string, limit int) (entries []*Entry, more bool) {
	scan(root, start, end, func(e *Entry) bool {
		if more = limit != 0 && len(entries) == limit; !more {
			entries = append(entries, e)
		}
		return !more
	})
	return entries, more
}
