package store

import (
	"unsafe"

	iradix "github.com/hashicorp/go-immutable-radix"
)

// tree is the key space at one revision: a persistent radix tree, so that a snapshot is a pointer and
// an old revision costs the few nodes that differ. The zero tree is none.
type tree struct{ root *iradix.Tree }

func newTree() tree { return tree{iradix.New()} }

// edit starts a change; t stays as it is.
func (t tree) edit() *treeEdit { return &treeEdit{t.root.Txn()} }

func (t tree) isZero() bool { return t.root == nil }

func (t tree) len() int { return t.root.Len() }

// view is what can be read.
func (t tree) view() view { return view{t.root.Root()} }

// treeEdit makes a tree out of another. What it changed once it changes in place the next time.
type treeEdit struct{ txn *iradix.Txn }

func (e *treeEdit) put(entry *Entry) { e.txn.Insert(keyBytes(entry.Key), entry) }

func (e *treeEdit) delete(key string) { e.txn.Delete(keyBytes(key)) }

// view is what the edit made so far; it holds until the next change.
func (e *treeEdit) view() view { return view{e.txn.Root()} }

// commit ends the edit.
func (e *treeEdit) commit() tree { return tree{e.txn.CommitOnly()} }

// keyBytes is a key as the tree wants it, without a copy: the tree never writes to keys, and keeps the
// bytes of the entry's own string instead of a second copy of each key.
func keyBytes(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// view reads a tree, or what an edit made so far.
type view struct{ root *iradix.Node }

// get returns the key's entry, nil when there is none.
func (v view) get(key string) *Entry {
	e, ok := v.root.Get(keyBytes(key))
	if !ok {
		return nil
	}
	return e.(*Entry)
}

// scan calls f with the entries of a range in key order until f returns false.
func (v view) scan(start, end string, f func(*Entry) bool) {
	if end == "" {
		if e := v.get(start); e != nil {
			f(e)
		}
		return
	}
	it := v.root.Iterator()
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
func (v view) collect(start, end string, limit int) (entries []*Entry, count int) {
	v.scan(start, end, func(e *Entry) bool {
		count++
		if limit == 0 || count <= limit {
			entries = append(entries, e)
		}
		return true
	})
	return entries, count
}

// page returns up to limit entries of a range, and whether there are more.
func (v view) page(start, end string, limit int) (entries []*Entry, more bool) {
	v.scan(start, end, func(e *Entry) bool {
		if more = limit != 0 && len(entries) == limit; !more {
			entries = append(entries, e)
		}
		return !more
	})
	return entries, more
}
