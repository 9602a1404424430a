package scheduler

import "iter"

// edit marks what one Builder owns and may therefore change in place. Nothing that a snapshot was
// made of is ever owned again: Builder.Snapshot drops the mark.
type edit struct{ _ byte }

const chunkBits = 6
const chunkSize = 1 << chunkBits

// vector is a persistent sequence in two levels: a spine of chunks. A copy of the struct is a copy
// of the value; a change copies the spine and one chunk, unless the edit owns them already.
type vector[T any] struct {
	spine []*chunk[T]
	n     int
	owner *edit
}

type chunk[T any] struct {
	owner *edit
	items [chunkSize]T
}

func (v *vector[T]) at(i int) T { return v.spine[i>>chunkBits].items[i&(chunkSize-1)] }

func (v *vector[T]) set(e *edit, i int, x T) {
	v.own(e)
	c := v.spine[i>>chunkBits]
	if c.owner != e {
		c = &chunk[T]{owner: e, items: c.items}
		v.spine[i>>chunkBits] = c
	}
	c.items[i&(chunkSize-1)] = x
}

func (v *vector[T]) push(e *edit, x T) {
	v.own(e)
	if v.n>>chunkBits == len(v.spine) {
		v.spine = append(v.spine, &chunk[T]{owner: e})
	}
	v.n++
	v.set(e, v.n-1, x)
}

func (v *vector[T]) pop(e *edit) {
	var zero T
	v.set(e, v.n-1, zero)
	v.n--
	if v.n&(chunkSize-1) == 0 {
		v.spine = v.spine[:len(v.spine)-1]
	}
}

func (v *vector[T]) own(e *edit) {
	if v.owner == e {
		return
	}
	v.spine = append(make([]*chunk[T], 0, len(v.spine)+1), v.spine...)
	v.owner = e
}

func (v *vector[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range v.n {
			if !yield(v.at(i)) {
				return
			}
		}
	}
}

const tableWidth = 64

// table is a persistent map from strings, a hash table in two levels of 64: a change copies both and
// one bucket. A hundred thousand entries make buckets of about 25.
type table[V any] struct {
	top *tableTop[V]
	n   int
}

type tableTop[V any] struct {
	owner *edit
	rows  [tableWidth]*tableRow[V]
}

type tableRow[V any] struct {
	owner   *edit
	buckets [tableWidth]*bucket[V]
}

type bucket[V any] struct {
	owner   *edit
	entries []tableEntry[V]
}

type tableEntry[V any] struct {
	hash  uint32
	key   string
	value V
}

// hashOf is FNV-1a: unlike the runtime's map hash it is the same in every process.
func hashOf(key string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h ^ h>>15
}

func (b *bucket[V]) find(h uint32, key string) int {
	for i := range b.entries {
		if e := &b.entries[i]; e.hash == h && e.key == key {
			return i
		}
	}
	return -1
}

func (t *table[V]) get(key string) (v V, ok bool) {
	if t.n == 0 {
		return v, false
	}
	h := hashOf(key)
	row := t.top.rows[h%tableWidth]
	if row == nil {
		return v, false
	}
	b := row.buckets[h/tableWidth%tableWidth]
	if b == nil {
		return v, false
	}
	if i := b.find(h, key); i >= 0 {
		return b.entries[i].value, true
	}
	return v, false
}

func (t *table[V]) put(e *edit, key string, v V) {
	h := hashOf(key)
	b := t.own(e, h)
	if i := b.find(h, key); i >= 0 {
		b.entries[i].value = v
		return
	}
	b.entries = append(b.entries, tableEntry[V]{h, key, v})
	t.n++
}

func (t *table[V]) remove(e *edit, key string) {
	if _, ok := t.get(key); !ok {
		return
	}
	h := hashOf(key)
	b := t.own(e, h)
	i, last := b.find(h, key), len(b.entries)-1
	b.entries[i] = b.entries[last]
	b.entries[last] = tableEntry[V]{}
	b.entries = b.entries[:last]
	t.n--
}

// own returns the bucket of a hash for change in place.
func (t *table[V]) own(e *edit, h uint32) *bucket[V] {
	switch {
	case t.top == nil:
		t.top = &tableTop[V]{owner: e}
	case t.top.owner != e:
		t.top = &tableTop[V]{owner: e, rows: t.top.rows}
	}
	row := &t.top.rows[h%tableWidth]
	switch {
	case *row == nil:
		*row = &tableRow[V]{owner: e}
	case (*row).owner != e:
		*row = &tableRow[V]{owner: e, buckets: (*row).buckets}
	}
	at := &(*row).buckets[h/tableWidth%tableWidth]
	switch {
	case *at == nil:
		*at = &bucket[V]{owner: e}
	case (*at).owner != e:
		old := (*at).entries
		*at = &bucket[V]{owner: e, entries: append(make([]tableEntry[V], 0, len(old)+1), old...)}
	}
	return *at
}

func (t *table[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if t.top == nil {
			return
		}
		// Small tables are mostly empty: the rest of one need not be looked at.
		left := t.n
		for i := 0; left > 0 && i < tableWidth; i++ {
			row := t.top.rows[i]
			if row == nil {
				continue
			}
			for j := 0; left > 0 && j < tableWidth; j++ {
				b := row.buckets[j]
				if b == nil {
					continue
				}
				left -= len(b.entries)
				for i := range b.entries {
					if !yield(b.entries[i].key, b.entries[i].value) {
						return
					}
				}
			}
		}
	}
}
