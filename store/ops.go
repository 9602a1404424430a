package store

import (
	"fmt"
	"slices"
	"strings"
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

// writes tells whether a transaction could change anything.
func (t *Txn) writes() bool {
	for _, ops := range [][]Op{t.Then, t.Else} {
		for i := range ops {
			if ops[i].Type != TypeGet {
				return true
			}
		}
	}
	return false
}

// lease returns the first lease that a put names, and its key.
func (t *Txn) lease() (LeaseID, string) {
	for _, ops := range [][]Op{t.Then, t.Else} {
		for i := range ops {
			if ops[i].Lease != 0 {
				return ops[i].Lease, ops[i].Key
			}
		}
	}
	return 0, ""
}

// size is the number of bytes in a transaction's keys and values.
func (t *Txn) size() int {
	n := 0
	for i := range t.If {
		n += len(t.If[i].Key) + len(t.If[i].Value)
	}
	for _, ops := range [][]Op{t.Then, t.Else} {
		for i := range ops {
			n += len(ops[i].Key) + len(ops[i].End) + len(ops[i].Value)
		}
	}
	return n
}

// validate tells what is wrong with a transaction whatever the state it meets.
func (t *Txn) validate() error {
	for i := range t.If {
		c := &t.If[i]
		switch {
		case c.Key == "":
			return fmt.Errorf("%w: comparison %d has no key", ErrInvalid, i)
		case c.Target > TargetValue:
			return fmt.Errorf("%w: comparison of %q has the unknown target %d", ErrInvalid, c.Key, c.Target)
		case c.Result > Greater:
			return fmt.Errorf("%w: comparison of %q has the unknown relation %d", ErrInvalid, c.Key, c.Result)
		}
	}
	if err := validateOps(t.Then); err != nil {
		return err
	}
	return validateOps(t.Else)
}

func validateOps(ops []Op) error {
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Type > TypeGet:
			return fmt.Errorf("%w: operation %d has the unknown type %d", ErrInvalid, i, op.Type)
		case op.Key == "" && op.End == "":
			return fmt.Errorf("%w: operation %d has no key", ErrInvalid, i)
		case op.Type == TypePut && op.End != "":
			return fmt.Errorf("%w: put of %q has a range end", ErrInvalid, op.Key)
		case op.Limit < 0:
			return fmt.Errorf("%w: operation on %q has the negative limit %d", ErrInvalid, op.Key, op.Limit)
		case op.Type == TypeDelete && op.Limit != 0:
			return fmt.Errorf("%w: deletion of %q has a limit", ErrInvalid, op.Key)
		}
	}
	if len(ops) < 2 {
		return nil
	}
	return validateOnce(ops)
}

// validateOnce sees to it that a branch changes no key twice, as in etcd: each change of a key has a
// revision of its own.
func validateOnce(ops []Op) error {
	var puts []string
	for i := range ops {
		if ops[i].Type == TypePut {
			puts = append(puts, ops[i].Key)
		}
	}
	slices.Sort(puts)
	for i := 1; i < len(puts); i++ {
		if puts[i] == puts[i-1] {
			return fmt.Errorf("%w: two puts of %q in one transaction", ErrInvalid, puts[i])
		}
	}
	for i := range ops {
		if ops[i].Type != TypeDelete {
			continue
		}
		at, _ := slices.BinarySearch(puts, ops[i].Key)
		if at < len(puts) && inRange(puts[at], ops[i].Key, ops[i].End) {
			return fmt.Errorf("%w: put and deletion of %q in one transaction", ErrInvalid, puts[at])
		}
	}
	return nil
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

// holds tells whether a condition is true of a key's entry, which is nil when there is none.
func (c *Compare) holds(e *Entry) bool {
	var order int
	if e == nil {
		if c.Target == TargetValue {
			return false // as in etcd: a missing value is not an empty one
		}
		e = &Entry{}
	}
	switch c.Target {
	case TargetVersion:
		order = compareInt(e.Version, c.Number)
	case TargetCreateRevision:
		order = compareInt(e.CreateRevision, c.Number)
	case TargetModRevision:
		order = compareInt(e.ModRevision, c.Number)
	case TargetLease:
		order = compareInt(int64(e.Lease), c.Number)
	case TargetValue:
		order = strings.Compare(string(e.Value), string(c.Value))
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

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
