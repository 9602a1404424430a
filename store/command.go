package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A command is what goes into the replicated log, in format 1:
//
//	format (1 byte), kind (1 byte), proposal id (16 bytes), body, CRC-32C of all before (4 bytes)
//
// The body of commandTxns is a list of transactions, that of commandCompact a revision. Numbers are
// varints, strings have their length before them, lists their count.
const (
	commandFormat = 1

	commandTxns    = 1
	commandCompact = 2

	commandHeader  = 2 + 16
	commandTrailer = 4
)

// proposalID tells a replica its own proposals from those of others and of earlier lives; it has no
// part in the state.
type proposalID struct{ replica, number uint64 }

// command is a decoded command; kind tells which of the rest counts.
type command struct {
	id      proposalID
	kind    byte
	txns    []Txn
	compact int64
}

func appendHeader(b []byte, kind byte, id proposalID) []byte {
	b = append(b, commandFormat, kind)
	b = binary.LittleEndian.AppendUint64(b, id.replica)
	return binary.LittleEndian.AppendUint64(b, id.number)
}

func appendCompact(b []byte, id proposalID, rev int64) []byte {
	return appendTrailer(binary.AppendVarint(appendHeader(b, commandCompact, id), rev))
}

// appendTrailer ends a command. A log may check what it reads back less well than what it recovers.
func appendTrailer(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// appendTxn appends one transaction of a command.
func appendTxn(b []byte, t *Txn) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.If)))
	for i := range t.If {
		c := &t.If[i]
		b = appendString(b, c.Key)
		b = append(b, byte(c.Target)<<4|byte(c.Result))
		if c.Target == TargetValue {
			b = appendString(b, c.Value)
		} else {
			b = binary.AppendVarint(b, c.Number)
		}
	}
	return appendOps(appendOps(b, t.Then), t.Else)
}

// What an operation's first byte tells besides the type.
const (
	opHasEnd   = 1 << 4
	opHasLease = 1 << 5
	opHasLimit = 1 << 6
	opTypeMask = 0x0f
	opFlags    = opHasEnd | opHasLease | opHasLimit
)

func appendOps(b []byte, ops []Op) []byte {
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for i := range ops {
		b = appendOp(b, &ops[i])
	}
	return b
}

func appendOp(b []byte, op *Op) []byte {
	head := byte(op.Type)
	if op.End != "" {
		head |= opHasEnd
	}
	if op.Lease != 0 {
		head |= opHasLease
	}
	if op.Limit != 0 {
		head |= opHasLimit
	}
	b = appendString(append(b, head), op.Key)
	if op.End != "" {
		b = appendString(b, op.End)
	}
	if op.Lease != 0 {
		b = binary.AppendVarint(b, int64(op.Lease))
	}
	if op.Limit != 0 {
		b = binary.AppendUvarint(b, uint64(op.Limit))
	}
	if op.Type == TypePut {
		b = appendString(b, op.Value)
	}
	return b
}

// decodeHeader returns the id and the kind of a command and a reader of its body.
func decodeHeader(b []byte) (proposalID, byte, wireReader, error) {
	if len(b) < commandHeader+commandTrailer {
		return proposalID{}, 0, wireReader{}, errMalformed
	}
	if b[0] != commandFormat {
		return proposalID{}, 0, wireReader{}, fmt.Errorf("store: command format %d; this version reads format %d", b[0], commandFormat)
	}
	id := proposalID{binary.LittleEndian.Uint64(b[2:]), binary.LittleEndian.Uint64(b[10:])}
	return id, b[1], wireReader{b: b[commandHeader : len(b)-commandTrailer]}, nil
}

// decodeCommand decodes any command and validates it: what it returns can be applied.
func decodeCommand(b []byte) (command, error) {
	id, kind, r, err := decodeHeader(b)
	if err != nil {
		return command{}, err
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-commandTrailer:])
	if sum != crc32.Checksum(b[:len(b)-commandTrailer], castagnoli) {
		return command{}, fmt.Errorf("%w: wrong checksum of a command", ErrCorrupt)
	}
	c := command{id: id, kind: kind}
	switch kind {
	case commandTxns:
		c.txns = make([]Txn, r.count(3))
		for i := range c.txns {
			c.txns[i] = r.txn()
		}
	case commandCompact:
		c.compact = r.varint()
	default:
		return command{}, fmt.Errorf("store: unknown command %d", kind)
	}
	if err := r.end(); err != nil {
		return command{}, err
	}
	for i := range c.txns {
		if err := c.txns[i].validate(); err != nil {
			return command{}, err
		}
	}
	return c, nil
}

func (r *wireReader) txn() Txn {
	var t Txn
	if n := r.count(3); n > 0 {
		t.If = make([]Compare, n)
	}
	for i := range t.If {
		c := &t.If[i]
		c.Key = r.string()
		head := r.byte()
		c.Target, c.Result = CompareTarget(head>>4), CompareResult(head&0x0f)
		if c.Target == TargetValue {
			c.Value = r.bytes()
		} else {
			c.Number = r.varint()
		}
	}
	t.Then, t.Else = r.ops(), r.ops()
	return t
}

func (r *wireReader) ops() []Op {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	ops := make([]Op, n)
	for i := range ops {
		op := &ops[i]
		head := r.byte()
		if head&^(opFlags|opTypeMask) != 0 {
			r.fail()
		}
		op.Type, op.Key = OpType(head&opTypeMask), r.string()
		if head&opHasEnd != 0 {
			op.End = r.string()
		}
		if head&opHasLease != 0 {
			op.Lease = LeaseID(r.varint())
		}
		if head&opHasLimit != 0 {
			op.Limit = int(r.uvarint())
		}
		if op.Type == TypePut {
			op.Value = r.bytes()
		}
	}
	return ops
}
