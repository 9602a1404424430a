package store

import (
	"sort"
	"sync"

	"github.com/tidwall/btree"
)

// tree is the key space at one revision: a B-tree whose copies share nodes until one of them is changed,
// so that a snapshot is a pointer and an old revision costs the few nodes that differ. See DESIGN.md for
// why it is not a radix tree. The zero tree is none.
type tree struct{ *sharedTree }

// sharedTree is a B-tree that is not changed any more. Copying it notes in it that its nodes are shared.
type sharedTree struct {
	entries *entryTree
	mu      sync.Mutex // for copying
}

type entryTree = btree.BTreeG[*Entry]

// treeDegree makes nodes of 15 to 31 entries: fewer make reads slower, more make copies larger.
const treeDegree = 16

func newTree() tree {
	opts := btree.Options{Degree: treeDegree, NoLocks: true}
	return tree{&sharedTree{entries: btree.NewBTreeGOptions(keyLess, opts)}}
}

func keyLess(a, b *Entry) bool { return a.Key < b.Key }

// edit starts a change; t stays as it is.
func (t tree) edit() *treeEdit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &treeEdit{t.entries.Copy()}
}

func (t tree) isZero() bool { return t.sharedTree == nil }

func (t tree) len() int { return t.entries.Len() }

// view is what can be read.
func (t tree) view() view { return view{t.entries} }

// treeEdit makes a tree out of another. What it copied once it changes in place from then on.
type treeEdit struct{ entries *entryTree }

// view is what the edit made so far; it holds until the next change.
func (e *treeEdit) view() view { return view{e.entries} }

func (e *treeEdit) put(entry *Entry) { e.entries.Set(entry) }

// load is put for entries that come in the order of their keys.
func (e *treeEdit) load(entry *Entry) { e.entries.Load(entry) }

func (e *treeEdit) delete(key string) {
	p := probeFor(key)
	e.entries.Delete(p)
	p.release()
}

// commit ends the edit.
func (e *treeEdit) commit() tree { return tree{&sharedTree{entries: e.entries}} }

// probes are entries that only serve to look for a key.
var probes = sync.Pool{New: func() any { return new(Entry) }}

func probeFor(key string) *Entry {
	p := probes.Get().(*Entry)
	p.Key = key
	return p
}

func (e *Entry) release() {
	e.Key = ""
	probes.Put(e)
}

// view reads a tree, or what an edit made so far.
type view struct{ entries *entryTree }

// get returns the key's entry, nil when there is none.
func (v view) get(key string) *Entry {
	p := probeFor(key)
	e, _ := v.entries.Get(p)
	p.release()
	return e
}

// scan calls f with the entries of a range in key order until f returns false.
func (v view) scan(start, end string, f func(*Entry) bool) {
	if end == "" {
		if e := v.get(start); e != nil {
			f(e)
		}
		return
	}
	p := probeFor(start)
	defer p.release()
	v.entries.Ascend(p, func(e *Entry) bool {
		return (end == toEnd || e.Key < end) && f(e)
	})
}

// rank is the number of keys before key.
func (v view) rank(key string) int {
	return sort.Search(v.entries.Len(), func(i int) bool {
		e, _ := v.entries.GetAt(i)
		return e.Key >= key
	})
}

// count is the number of entries in a range. It does not walk over them.
func (v view) count(start, end string) int {
	switch {
	case end == "" && v.get(start) != nil:
		return 1
	case end == "":
		return 0
	case end == toEnd:
		return v.entries.Len() - v.rank(start)
	}
	return max(0, v.rank(end)-v.rank(start))
}

// page returns up to limit entries of a range, and whether there are more; 0 is no limit.
func (v view) page(start, end string, limit int) (entries []*Entry, more bool) {
	v.scan(start, end, func(e *Entry) bool {
		if more = limit != 0 && len(entries) == limit; !more {
			entries = append(entries, e)
		}
		return !more
	})
	return entries, more
}

// collect returns up to limit entries of a range, and how many there are.
func (v view) collect(start, end string, limit int) (entries []*Entry, count int) {
	entries, more := v.page(start, end, limit)
	if more {
		return entries, v.count(start, end)
	}
	return entries, len(entries)
}
