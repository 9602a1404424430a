package store

import (
	"bytes"
	"cmp"
)

// OpPut sets a key.
func OpPut(key string, value []byte) Op { return Op{Type: TypePut, Key: key, Value: value} }

// OpDelete deletes a key, if it exists.
func OpDelete(key string) Op { return Op{Type: TypeDelete, Key: key} }

// OpDeletePrefix deletes all keys with a prefix.
func OpDeletePrefix(prefix string) Op {
	return Op{Type: TypeDelete, Key: prefix, End: PrefixEnd(prefix)}
}

// OpGet reads a key within a transaction. It sees what operations before it did.
func OpGet(key string) Op { return Op{Type: TypeGet, Key: key} }

// OpGetPrefix reads all keys with a prefix within a transaction.
func OpGetPrefix(prefix string) Op {
	return Op{Type: TypeGet, Key: prefix, End: PrefixEnd(prefix)}
}

// OpTxn nests a transaction: all or nothing of it happens, in the revision of the one around it.
func OpTxn(t Txn) Op { return Op{Type: TypeTxn, Txn: &t} }

// IfVersion holds when the key's version is n; n = 0 when it does not exist.
func IfVersion(key string, n int64) Compare {
	return Compare{Key: key, Target: TargetVersion, Number: n}
}

// IfModRevision holds when the key was last changed in revision rev; rev = 0 when it does not exist.
func IfModRevision(key string, rev int64) Compare {
	return Compare{Key: key, Target: TargetModRevision, Number: rev}
}

// IfMissing holds when the key does not exist.
func IfMissing(key string) Compare { return IfVersion(key, 0) }

// IfExists holds when the key exists.
func IfExists(key string) Compare {
	return Compare{Key: key, Target: TargetVersion, Result: Greater}
}

// IfValue holds when the key exists and has the value.
func IfValue(key string, value []byte) Compare {
	return Compare{Key: key, Target: TargetValue, Value: value}
}

// IfLease holds when the key goes with the lease; id = 0 when it goes with none or does not exist.
func IfLease(key string, id LeaseID) Compare {
	return Compare{Key: key, Target: TargetLease, Number: int64(id)}
}

// branch returns the operations to run.
func (t *Txn) branch(succeeded bool) []Op {
	if succeeded {
		return t.Then
	}
	return t.Else
}

// visit calls f with every operation of both branches and of those nested in them, until f returns false.
func (t *Txn) visit(f func(*Op) bool) bool {
	for _, ops := range [2][]Op{t.Then, t.Else} {
		for i := range ops {
			if op := &ops[i]; !f(op) || (op.Type == TypeTxn && !op.Txn.visit(f)) {
				return false
			}
		}
	}
	return true
}

// writes tells whether a transaction could change anything.
func (t *Txn) writes() bool {
	return !t.visit(func(op *Op) bool { return op.Type == TypeGet || op.Type == TypeTxn })
}

// size is the number of bytes in a transaction's keys and values, and of conditions and operations.
func (t *Txn) size() (bytes, ops int) {
	bytes, ops = sizeOfCompares(t.If), len(t.If)
	t.visit(func(op *Op) bool {
		ops++
		bytes += len(op.Key) + len(op.End) + len(op.Value)
		if op.Type == TypeTxn {
			bytes += sizeOfCompares(op.Txn.If)
			ops += len(op.Txn.If)
		}
		return true
	})
	return bytes, ops
}

func sizeOfCompares(list []Compare) int {
	n := 0
	for i := range list {
		n += len(list[i].Key) + len(list[i].End) + len(list[i].Value)
	}
	return n
}

// toEnd as the end of a range stands for the end of the key space.
const toEnd = "\x00"

// inRange tells whether a key is in [start, end), or is start when there is no end.
func inRange(key, start, end string) bool {
	switch end {
	case "":
		return key == start
	case toEnd:
		return key >= start
	}
	return key >= start && key < end
}

// isPrefix tells whether [start, end) is the range of all keys with the prefix start.
func isPrefix(start, end string) bool { return end != "" && end == PrefixEnd(start) }

// holds tells whether a condition is true of the state that v shows.
func (c *Compare) holds(v view) bool {
	if c.End == "" {
		return c.holdsFor(v.get(c.Key))
	}
	all, found := true, false
	v.scan(c.Key, c.End, func(e *Entry) bool {
		found = true
		all = c.holdsFor(e)
		return all
	})
	if !found {
		return c.holdsFor(nil)
	}
	return all
}

// missing stands for a key that does not exist.
var missing Entry

// holdsFor tells whether a condition is true of one key's entry, which is nil when there is none.
func (c *Compare) holdsFor(e *Entry) bool {
	if e == nil {
		if c.Target == TargetValue {
			return false
		}
		e = &missing
	}
	var order int
	switch c.Target {
	case TargetVersion:
		order = cmp.Compare(e.Version, c.Number)
	case TargetCreateRevision:
		order = cmp.Compare(e.CreateRevision, c.Number)
	case TargetModRevision:
		order = cmp.Compare(e.ModRevision, c.Number)
	case TargetLease:
		order = cmp.Compare(int64(e.Lease), c.Number)
	case TargetValue:
		order = bytes.Compare(e.Value, c.Value)
	}
	switch c.Result {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	}
	return order > 0
}
