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

const shardCount = 128

// table is a persistent map from strings: a change copies one of its shards. 128 shards keep that
// copy at about 40 entries for 5,000 nodes.
type table[V any] struct {
	shards *shards[V]
	n      int
}

type shards[V any] struct {
	owner *edit
	m     [shardCount]*shard[V]
}

type shard[V any] struct {
	owner *edit
	m     map[string]V
}

// shardOf is FNV-1a: unlike the runtime's map hash it is the same in every process.
func shardOf(key string) int {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int((h ^ h>>16) % shardCount)
}

func (t *table[V]) get(key string) (V, bool) {
	var zero V
	if t.shards == nil {
		return zero, false
	}
	s := t.shards.m[shardOf(key)]
	if s == nil {
		return zero, false
	}
	v, ok := s.m[key]
	return v, ok
}

func (t *table[V]) put(e *edit, key string, v V) {
	s := t.own(e, key)
	if _, ok := s.m[key]; !ok {
		t.n++
	}
	s.m[key] = v
}

func (t *table[V]) remove(e *edit, key string) {
	if _, ok := t.get(key); !ok {
		return
	}
	delete(t.own(e, key).m, key)
	t.n--
}

func (t *table[V]) own(e *edit, key string) *shard[V] {
	if t.shards == nil {
		t.shards = &shards[V]{owner: e}
	} else if t.shards.owner != e {
		t.shards = &shards[V]{owner: e, m: t.shards.m}
	}
	at := &t.shards.m[shardOf(key)]
	if *at != nil && (*at).owner == e {
		return *at
	}
	c := &shard[V]{owner: e, m: map[string]V{}}
	if *at != nil {
		for k, v := range (*at).m {
			c.m[k] = v
		}
	}
	*at = c
	return c
}

func (t *table[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if t.shards == nil {
			return
		}
		for _, s := range t.shards.m {
			if s == nil {
				continue
			}
			for k, v := range s.m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}
