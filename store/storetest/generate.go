package storetest

import (
	"pgregory.net/rapid"

	"github.com/inboard/inboard/store"
)

// generator makes requests within a prefix and with leases of its own, so that runs do not see each other.
type generator struct {
	*rapid.T
	model  *model
	prefix string
	leases store.LeaseID // the first of leasesOfARun
}

const leasesOfARun = 3

// The keys are prefixes of each other, and have the bytes at which orders and ends go wrong.
var tails = []string{"a", "a/", "a/b", "a/bc", "a0", "b", "b\x00", "b\xff", "b\xff\xff", "c"}

func (g generator) key() string { return g.prefix + rapid.SampledFrom(tails).Draw(g.T, "key") }

func (g generator) leaseID() store.LeaseID {
	return g.leases + store.LeaseID(rapid.IntRange(0, leasesOfARun-1).Draw(g.T, "lease"))
}

// span is a key, a prefix or any range, also an empty or an inverted one.
func (g generator) span() (key, end string) {
	key = g.key()
	switch rapid.IntRange(0, 3).Draw(g.T, "span") {
	case 0:
		return key, ""
	case 1:
		return key, store.PrefixEnd(key)
	case 2:
		return g.prefix, store.PrefixEnd(g.prefix)
	}
	return key, g.key()
}

func (g generator) drawTxn(depth int) store.Txn {
	var t store.Txn
	for range rapid.IntRange(0, 2).Draw(g.T, "conditions") {
		t.If = append(t.If, g.compare())
	}
	for range rapid.IntRange(0, 4-depth).Draw(g.T, "then") {
		t.Then = append(t.Then, g.op(depth))
	}
	for range rapid.IntRange(0, 2).Draw(g.T, "else") {
		t.Else = append(t.Else, g.op(depth))
	}
	return t
}

func (g generator) op(depth int) store.Op {
	switch rapid.IntRange(0, 7).Draw(g.T, "op") {
	case 0:
		key, end := g.span()
		return store.Op{Type: store.TypeGet, Key: key, End: end, Limit: rapid.IntRange(0, 3).Draw(g.T, "limit")}
	case 1:
		key, end := g.span()
		return store.Op{Type: store.TypeDelete, Key: key, End: end}
	case 2:
		if depth < 2 {
			nested := g.drawTxn(depth + 1)
			return store.Op{Type: store.TypeTxn, Txn: &nested}
		}
	}
	return g.put()
}

func (g generator) put() store.Op {
	op := store.OpPut(g.key(), []byte(rapid.StringMatching("[xyz]{0,2}").Draw(g.T, "value")))
	switch rapid.IntRange(0, 7).Draw(g.T, "put") {
	case 0:
		op.KeepValue, op.Value = true, nil
	case 1:
		op.KeepLease = true
	case 2, 3:
		op.Lease = g.leaseID()
	}
	return op
}

func (g generator) compare() store.Compare {
	c := store.Compare{
		Target: rapid.SampledFrom([]store.CompareTarget{
			store.TargetVersion, store.TargetCreateRevision, store.TargetModRevision, store.TargetLease, store.TargetValue,
		}).Draw(g.T, "target"),
		Result: rapid.SampledFrom([]store.CompareResult{store.Equal, store.NotEqual, store.Less, store.Greater}).Draw(g.T, "result"),
	}
	c.Key = g.key()
	if rapid.IntRange(0, 2).Draw(g.T, "of a range") == 0 {
		c.Key, c.End = g.span()
	}
	switch c.Target {
	case store.TargetValue:
		c.Value = []byte(rapid.StringMatching("[xyz]{0,2}").Draw(g.T, "compared"))
	case store.TargetVersion:
		c.Number = rapid.Int64Range(0, 4).Draw(g.T, "version")
	case store.TargetLease:
		c.Number = rapid.SampledFrom([]int64{0, int64(g.leaseID())}).Draw(g.T, "lease")
	default:
		c.Number = rapid.SampledFrom([]int64{0, g.model.rev(), max(g.model.rev()-2, 1)}).Draw(g.T, "revision")
	}
	return c
}

// ambiguous tells whether a nested transaction deletes what an earlier nested one puts: etcd allows it in
// this order and not in the other; package store never does.
func ambiguous(t store.Txn) bool { return ambiguousOps(t.Then) || ambiguousOps(t.Else) }

func ambiguousOps(ops []store.Op) bool {
	earlier := map[string]bool{}
	for _, op := range ops {
		if op.Type != store.TypeTxn {
			continue
		}
		if ambiguous(*op.Txn) {
			return true
		}
		for _, branch := range [][]store.Op{op.Txn.Then, op.Txn.Else} {
			if _, deletes, _ := changed(branch); meet(earlier, deletes) {
				return true
			}
		}
		for _, branch := range [][]store.Op{op.Txn.Then, op.Txn.Else} {
			puts, _, _ := changed(branch)
			for k := range puts {
				earlier[k] = true
			}
		}
	}
	return false
}
