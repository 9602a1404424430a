package store

import "encoding/binary"

// What a condition's first byte tells besides target and relation, and an operation's besides the type.
const (
	compareHasEnd = 1 << 7

	opTypeMask  = 0x03
	opKeepValue = 1 << 2
	opKeepLease = 1 << 3
	opHasEnd    = 1 << 4
	opHasLease  = 1 << 5
	opHasLimit  = 1 << 6
	opReserved  = 1 << 7
)

// appendTxn appends a transaction: its conditions and the operations of both branches.
func appendTxn(b []byte, t *Txn) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.If)))
	for i := range t.If {
		c := &t.If[i]
		head := byte(c.Target)<<4 | byte(c.Result)
		if c.End != "" {
			head |= compareHasEnd
		}
		b = appendString(append(b, head), c.Key)
		if c.End != "" {
			b = appendString(b, c.End)
		}
		if c.Target == TargetValue {
			b = appendString(b, c.Value)
		} else {
			b = binary.AppendVarint(b, c.Number)
		}
	}
	return appendOps(appendOps(b, t.Then), t.Else)
}

func appendOps(b []byte, ops []Op) []byte {
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for i := range ops {
		if op := &ops[i]; op.Type == TypeTxn {
			b = appendTxn(append(b, byte(TypeTxn)), op.Txn)
		} else {
			b = appendOp(b, op)
		}
	}
	return b
}

func appendOp(b []byte, op *Op) []byte {
	b = appendString(append(b, op.head()), op.Key)
	if op.End != "" {
		b = appendString(b, op.End)
	}
	if op.Lease != 0 {
		b = binary.AppendVarint(b, int64(op.Lease))
	}
	if op.Limit != 0 {
		b = binary.AppendUvarint(b, uint64(op.Limit))
	}
	if op.Type == TypePut && !op.KeepValue {
		b = appendString(b, op.Value)
	}
	return b
}

func (op *Op) head() byte {
	head := byte(op.Type)
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{op.KeepValue, opKeepValue},
		{op.KeepLease, opKeepLease},
		{op.End != "", opHasEnd},
		{op.Lease != 0, opHasLease},
		{op.Limit != 0, opHasLimit},
	} {
		if f.set {
			head |= f.bit
		}
	}
	return head
}

// txn reads a transaction that is nested depth deep.
func (r *wireReader) txn(depth int) Txn {
	var t Txn
	if depth > maxTxnDepth {
		r.fail()
		return t
	}
	if n := r.count(3); n > 0 {
		t.If = make([]Compare, n)
	}
	for i := range t.If {
		r.compare(&t.If[i])
	}
	t.Then = r.ops(depth)
	t.Else = r.ops(depth)
	return t
}

func (r *wireReader) compare(c *Compare) {
	head := r.byte()
	c.Target, c.Result = CompareTarget(head&^compareHasEnd>>4), CompareResult(head&0x0f)
	c.Key = r.string()
	if head&compareHasEnd != 0 {
		c.End = r.string()
	}
	if c.Target == TargetValue {
		c.Value = r.bytes()
	} else {
		c.Number = r.varint()
	}
}

func (r *wireReader) ops(depth int) []Op {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	ops := make([]Op, n)
	for i := range ops {
		if r.bad {
			return nil
		}
		r.op(&ops[i], depth)
	}
	return ops
}

func (r *wireReader) op(op *Op, depth int) {
	head := r.byte()
	if head&opReserved != 0 {
		r.fail()
	}
	if op.Type = OpType(head & opTypeMask); op.Type == TypeTxn {
		if head != byte(TypeTxn) {
			r.fail()
		}
		t := r.txn(depth + 1)
		op.Txn = &t
		return
	}
	op.KeepValue, op.KeepLease = head&opKeepValue != 0, head&opKeepLease != 0
	op.Key = r.string()
	if head&opHasEnd != 0 {
		op.End = r.string()
	}
	if head&opHasLease != 0 {
		op.Lease = LeaseID(r.varint())
	}
	if head&opHasLimit != 0 {
		op.Limit = int(r.uvarint())
	}
	if op.Type == TypePut && !op.KeepValue {
		op.Value = r.bytes()
	}
}
