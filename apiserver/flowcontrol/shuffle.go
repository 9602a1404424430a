package flowcontrol

import (
	"crypto/sha256"
	"encoding/binary"
)

// maxHand bounds a hand: validation lets no level have more, as the hash would not suffice.
const maxHand = 16

// deal deals a hand of different cards from a deck by a hash, and returns how many. Each hand is as likely as any
// other: shuffle sharding (KEP-1040).
func deal(hash uint64, deck, size int, hand *[maxHand]int) int {
	size = max(1, min(size, deck, maxHand))
	for i := range size {
		left := uint64(deck - i)
		card := int(hash % left)
		hash /= left
		// The card is one of those that are left: count past those that are dealt, from the last to the first, as
		// each was counted among those that were left before it.
		hand[i] = card
	}
	for i := size - 1; i > 0; i-- {
		for j := i - 1; j >= 0; j-- {
			if hand[i] >= hand[j] {
				hand[i]++
			}
		}
	}
	return size
}

// hashFlow tells flows apart: those of a schema, by their distinguisher.
func hashFlow(schema, distinguisher string) uint64 {
	var buf [256]byte
	b := append(append(append(buf[:0], schema...), 0), distinguisher...)
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:8])
}
