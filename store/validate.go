package store

import (
	"cmp"
	"fmt"
	"slices"
)

// maxTxnDepth is how deep transactions may nest: it bounds the stack of all that walks through them.
const maxTxnDepth = 32

// validate tells what is wrong with a transaction whatever the state it meets.
func (t *Txn) validate() error {
	if err := t.validateEach(1); err != nil {
		return err
	}
	if len(t.Then) < 2 && len(t.Else) < 2 && !t.nests() {
		return nil
	}
	if _, err := changesOf(t.Then); err != nil {
		return err
	}
	_, err := changesOf(t.Else)
	return err
}

func (t *Txn) nests() bool { return !t.visit(func(op *Op) bool { return op.Type != TypeTxn }) }

// validateEach looks at conditions and operations one by one.
func (t *Txn) validateEach(depth int) error {
	if depth > maxTxnDepth {
		return fmt.Errorf("%w: transactions are nested deeper than %d", ErrInvalid, maxTxnDepth)
	}
	for i := range t.If {
		c := &t.If[i]
		switch {
		case c.Key == "" && c.End == "":
			return fmt.Errorf("%w: comparison %d has no key", ErrInvalid, i)
		case c.Target > TargetValue:
			return fmt.Errorf("%w: comparison of %q has the unknown target %d", ErrInvalid, c.Key, c.Target)
		case c.Result > Greater:
			return fmt.Errorf("%w: comparison of %q has the unknown relation %d", ErrInvalid, c.Key, c.Result)
		}
	}
	for _, ops := range [2][]Op{t.Then, t.Else} {
		for i := range ops {
			if err := ops[i].validate(i, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (op *Op) validate(i, depth int) error {
	switch {
	case op.Type == TypeTxn:
		if op.Txn == nil || op.Key != "" || op.End != "" {
			return fmt.Errorf("%w: operation %d nests no transaction, or has a key as well", ErrInvalid, i)
		}
		return op.Txn.validateEach(depth + 1)
	case op.Type > TypeTxn:
		return fmt.Errorf("%w: operation %d has the unknown type %d", ErrInvalid, i, op.Type)
	case op.Key == "" && (op.End == "" || op.Type == TypePut):
		return fmt.Errorf("%w: operation %d has no key", ErrInvalid, i)
	case op.Txn != nil:
		return fmt.Errorf("%w: operation on %q nests a transaction as well", ErrInvalid, op.Key)
	case op.Type != TypeGet && op.Limit != 0:
		return fmt.Errorf("%w: change of %q has a limit", ErrInvalid, op.Key)
	case op.Limit < 0:
		return fmt.Errorf("%w: operation on %q has the negative limit %d", ErrInvalid, op.Key, op.Limit)
	case op.Type != TypePut && (op.Lease != 0 || op.KeepValue || op.KeepLease):
		return fmt.Errorf("%w: operation on %q is no put, but names a lease or keeps something", ErrInvalid, op.Key)
	case op.Type == TypePut && op.End != "":
		return fmt.Errorf("%w: put of %q has a range end", ErrInvalid, op.Key)
	case op.KeepValue && len(op.Value) != 0:
		return fmt.Errorf("%w: put of %q keeps the value and has one", ErrInvalid, op.Key)
	case op.KeepLease && op.Lease != 0:
		return fmt.Errorf("%w: put of %q keeps the lease and names one", ErrInvalid, op.Key)
	}
	return nil
}

// changes are the keys that a branch may put and the ranges that it may delete, each with the operation
// of the branch that does.
type changes struct {
	puts    []change
	deletes []change
}

type change struct {
	key, end string
	op       int
}

// changesOf sees to it that a branch changes no key twice, as in etcd: each change of a key has a
// revision of its own. The two branches of a nested transaction may change the same key, since only one
// of them runs. Etcd lets a nested put meet the deletion of a later nested transaction; here the order
// makes no difference.
func changesOf(ops []Op) (changes, error) {
	var all changes
	for i := range ops {
		op := &ops[i]
		switch op.Type {
		case TypePut:
			all.puts = append(all.puts, change{key: op.Key, op: i})
		case TypeDelete:
			all.deletes = append(all.deletes, change{key: op.Key, end: op.End, op: i})
		case TypeTxn:
			for _, branch := range [2][]Op{op.Txn.Then, op.Txn.Else} {
				nested, err := changesOf(branch)
				if err != nil {
					return all, err
				}
				all.puts = appendChanges(all.puts, nested.puts, i)
				all.deletes = appendChanges(all.deletes, nested.deletes, i)
			}
		}
	}
	return all, all.check()
}

func appendChanges(to, from []change, op int) []change {
	for _, c := range from {
		c.op = op
		to = append(to, c)
	}
	return to
}

// check looks for two operations that change the same key. It leaves the puts in order.
func (all *changes) check() error {
	slices.SortFunc(all.puts, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.op, b.op))
	})
	for i := 1; i < len(all.puts); i++ {
		if a, b := all.puts[i-1], all.puts[i]; a.key == b.key && a.op != b.op {
			return fmt.Errorf("%w: two puts of %q in one transaction", ErrInvalid, a.key)
		}
	}
	for _, d := range all.deletes {
		at, _ := slices.BinarySearchFunc(all.puts, d.key, func(c change, key string) int { return cmp.Compare(c.key, key) })
		for ; at < len(all.puts) && inRange(all.puts[at].key, d.key, d.end); at++ {
			if all.puts[at].op != d.op {
				return fmt.Errorf("%w: put and deletion of %q in one transaction", ErrInvalid, all.puts[at].key)
			}
		}
	}
	return nil
}
