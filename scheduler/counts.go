package scheduler

import (
	"iter"
	"math/bits"
	"slices"
)

// counts is a persistent vector of numbers most of which are 0, such as how many pods of a kind each
// node has. A copy of the struct is a copy of the value; a change copies the list of chunks and one
// chunk, unless the edit owns them already. Its size follows the numbers that are not 0.
type counts struct {
	owner *edit
	// chunks are sorted by base; none is empty.
	chunks []*countChunk
	// size is how many numbers are not 0.
	size int
}

// countChunk holds the numbers of 64 places.
type countChunk struct {
	owner *edit
	// base is the first place over 64.
	base int32
	// used tells which places are not 0; their numbers stand in n, in order.
	used uint64
	n    []int32
}

func (c *counts) find(base int32) (int, bool) {
	return slices.BinarySearchFunc(c.chunks, base, func(k *countChunk, b int32) int { return int(k.base - b) })
}

func (c *counts) at(i int) int32 {
	at, ok := c.find(int32(i >> chunkBits))
	if !ok {
		return 0
	}
	k, bit := c.chunks[at], uint64(1)<<(i&(chunkSize-1))
	if k.used&bit == 0 {
		return 0
	}
	return k.n[bits.OnesCount64(k.used&(bit-1))]
}

// add changes the number of place i. The outcome must not be negative.
func (c *counts) add(e *edit, i int, by int32) {
	if c.owner != e {
		c.chunks, c.owner = append(make([]*countChunk, 0, len(c.chunks)+1), c.chunks...), e
	}
	base, bit := int32(i>>chunkBits), uint64(1)<<(i&(chunkSize-1))
	at, ok := c.find(base)
	if !ok {
		c.chunks = slices.Insert(c.chunks, at, &countChunk{owner: e, base: base})
	}
	k := c.chunks[at]
	if k.owner != e {
		k = &countChunk{owner: e, base: base, used: k.used, n: append(make([]int32, 0, len(k.n)+1), k.n...)}
		c.chunks[at] = k
	}
	slot := bits.OnesCount64(k.used & (bit - 1))
	if k.used&bit == 0 {
		k.used |= bit
		k.n = slices.Insert(k.n, slot, 0)
		c.size++
	}
	if k.n[slot] += by; k.n[slot] != 0 {
		return
	}
	k.used &^= bit
	k.n = slices.Delete(k.n, slot, slot+1)
	c.size--
	if k.used == 0 {
		c.chunks = slices.Delete(c.chunks, at, at+1)
	}
}

// all returns the places whose numbers are not 0, and the numbers.
func (c *counts) all() iter.Seq2[int, int32] {
	return func(yield func(int, int32) bool) {
		for _, k := range c.chunks {
			first := int(k.base) << chunkBits
			for used, i := k.used, 0; used != 0; used, i = used&(used-1), i+1 {
				if !yield(first+bits.TrailingZeros64(used), k.n[i]) {
					return
				}
			}
		}
	}
}
