package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// A command is what goes into the replicated log, in format 2:
//
//	format (1 byte), proposal id (16 bytes), requests, CRC-32C of all before (4 bytes)
//
// Each request is its kind in one byte and what belongs to that; there are as many as the command has
// room for. Numbers are varints, strings have their length before them, lists their count.
const (
	commandFormat = 2

	commandHeader  = 1 + 16
	commandTrailer = 4
)

// proposalID tells a replica its own proposals from those of others and of earlier lives; it has no
// part in the state.
type proposalID struct{ replica, number uint64 }

// command is a decoded command.
type command struct {
	id       proposalID
	requests []request
}

// What a request asks for.
const (
	requestTxn requestKind = 1 + iota
	requestCompact
	requestGrant
	requestRevoke
	// requestTenure makes a lessor the one whose requestExpire counts, and those of all before it not.
	requestTenure
	requestExpire
)

type requestKind byte

// request is one change of the state; kind tells which of the rest counts.
type request struct {
	kind requestKind
	txn  *Txn
	rev  int64         // of a compaction
	id   LeaseID       // for grant, revoke, expire
	ttl  time.Duration // for grant
	// serial tells the lease that expires from a later one with the same id.
	serial uint64
	tenure uint64 // for tenure, expire
}

// size is about how many bytes the request takes in a command.
func (q *request) size() int {
	if q.kind != requestTxn {
		return 32
	}
	bytes, ops := q.txn.size()
	return bytes + 16*(1+ops)
}

func appendHeader(b []byte, id proposalID) []byte {
	b = append(b, commandFormat)
	b = binary.LittleEndian.AppendUint64(b, id.replica)
	return binary.LittleEndian.AppendUint64(b, id.number)
}

// appendTrailer ends a command. A log may check what it reads back less well than what it recovers.
func appendTrailer(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// appendRequest appends one request of a command.
func appendRequest(b []byte, q *request) []byte {
	b = append(b, byte(q.kind))
	switch q.kind {
	case requestTxn:
		return appendTxn(b, q.txn)
	case requestCompact:
		return binary.AppendVarint(b, q.rev)
	case requestTenure:
		return binary.AppendUvarint(b, q.tenure)
	}
	b = binary.AppendVarint(b, int64(q.id))
	switch q.kind {
	case requestGrant:
		b = binary.AppendVarint(b, int64(q.ttl))
	case requestExpire:
		b = binary.AppendUvarint(b, q.serial)
		b = binary.AppendUvarint(b, q.tenure)
	}
	return b
}

// decodeHeader returns the id of a command and a reader of its requests.
func decodeHeader(b []byte) (proposalID, wireReader, error) {
	if len(b) < commandHeader+commandTrailer {
		return proposalID{}, wireReader{}, errMalformed
	}
	if b[0] != commandFormat {
		return proposalID{}, wireReader{}, fmt.Errorf("store: command format %d; this version reads format %d", b[0], commandFormat)
	}
	id := proposalID{binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])}
	return id, wireReader{b: b[commandHeader : len(b)-commandTrailer]}, nil
}

// decodeCommand decodes any command and validates it: what it returns can be applied.
func decodeCommand(b []byte) (command, error) {
	id, r, err := decodeHeader(b)
	if err != nil {
		return command{}, err
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-commandTrailer:])
	if sum != crc32.Checksum(b[:len(b)-commandTrailer], castagnoli) {
		return command{}, fmt.Errorf("%w: wrong checksum of a command", ErrCorrupt)
	}
	c := command{id: id}
	for len(r.b) > 0 {
		q, err := r.request()
		if err != nil {
			return command{}, err
		}
		c.requests = append(c.requests, q)
	}
	return c, r.end()
}

func (r *wireReader) request() (request, error) {
	q := request{kind: requestKind(r.byte())}
	switch q.kind {
	case requestTxn:
		t := r.txn(1)
		if r.bad {
			return q, errMalformed
		}
		q.txn = &t
		return q, t.validate()
	case requestCompact:
		q.rev = r.varint()
	case requestTenure:
		q.tenure = r.uvarint()
	case requestGrant:
		q.id, q.ttl = LeaseID(r.varint()), time.Duration(r.varint())
		if q.id == 0 || q.ttl < minTTL || q.ttl > maxTTL {
			r.fail()
		}
	case requestRevoke:
		q.id = LeaseID(r.varint())
	case requestExpire:
		q.id, q.serial, q.tenure = LeaseID(r.varint()), r.uvarint(), r.uvarint()
	default:
		return q, fmt.Errorf("store: unknown request %d in a command", q.kind)
	}
	if r.bad {
		return q, errMalformed
	}
	return q, nil
}
