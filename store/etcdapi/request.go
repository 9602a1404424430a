package etcdapi

import (
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
)

// Requests as the store's types. Keys are copied into strings, values are handed over: gRPC made them for
// this request alone. Range ends mean the same on both sides.

func toRange(r *pb.RangeRequest) store.Range {
	return store.Range{
		Key: string(r.Key), End: string(r.RangeEnd), Revision: max(r.Revision, 0),
		Limit: toLimit(r), Linearizable: !r.Serializable,
	}
}

// toLimit is the limit that the store may apply: none when entries are still to be sorted or left out.
func toLimit(r *pb.RangeRequest) int {
	switch {
	case r.CountOnly:
		return 1
	case r.Limit <= 0 || r.Limit > math.MaxInt32 || !inKeyOrder(r) || filters(r):
		return 0
	}
	return int(r.Limit)
}

// inKeyOrder tells whether the order asked for is the store's. etcd does not sort when no order is asked
// for, except by another target than the key.
func inKeyOrder(r *pb.RangeRequest) bool {
	if r.SortTarget != pb.RangeRequest_KEY {
		return false
	}
	return r.SortOrder != pb.RangeRequest_DESCEND
}

func filters(r *pb.RangeRequest) bool {
	return r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
}

func toPut(r *pb.PutRequest) store.Op {
	return store.Op{
		Type: store.TypePut, Key: string(r.Key), Value: r.Value, Lease: store.LeaseID(r.Lease),
		KeepValue: r.IgnoreValue, KeepLease: r.IgnoreLease,
	}
}

func toDelete(r *pb.DeleteRangeRequest) store.Op {
	return store.Op{Type: store.TypeDelete, Key: string(r.Key), End: string(r.RangeEnd)}
}

// toTxn needs a transaction that passed checkTxn.
func toTxn(r *pb.TxnRequest) store.Txn {
	t := store.Txn{Then: toOps(r.Success), Else: toOps(r.Failure)}
	if len(r.Compare) > 0 {
		t.If = make([]store.Compare, 0, len(r.Compare))
	}
	for _, c := range r.Compare {
		t.If = append(t.If, toCompare(c))
	}
	return t
}

func toOps(ops []*pb.RequestOp) []store.Op {
	if len(ops) == 0 {
		return nil
	}
	out := make([]store.Op, len(ops))
	for i, op := range ops {
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			out[i] = toGet(r.RequestRange)
		case *pb.RequestOp_RequestPut:
			out[i] = toPut(r.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			out[i] = toDelete(r.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			nested := toTxn(r.RequestTxn)
			out[i] = store.Op{Type: store.TypeTxn, Txn: &nested}
		}
	}
	return out
}

// toGet reads a range within a transaction. One of the past is read by txnCall; its place is kept by a read
// of the one key.
func toGet(r *pb.RangeRequest) store.Op {
	if r.Revision != 0 {
		return store.Op{Type: store.TypeGet, Key: string(r.Key)}
	}
	return store.Op{Type: store.TypeGet, Key: string(r.Key), End: string(r.RangeEnd), Limit: toLimit(r)}
}

var compareResults = map[pb.Compare_CompareResult]store.CompareResult{
	pb.Compare_EQUAL:     store.Equal,
	pb.Compare_NOT_EQUAL: store.NotEqual,
	pb.Compare_LESS:      store.Less,
	pb.Compare_GREATER:   store.Greater,
}

var compareTargets = map[pb.Compare_CompareTarget]store.CompareTarget{
	pb.Compare_VERSION: store.TargetVersion,
	pb.Compare_CREATE:  store.TargetCreateRevision,
	pb.Compare_MOD:     store.TargetModRevision,
	pb.Compare_LEASE:   store.TargetLease,
	pb.Compare_VALUE:   store.TargetValue,
}

// invalid is a relation or target that the store refuses.
const invalid = 255

func toCompare(c *pb.Compare) store.Compare {
	sc := store.Compare{Key: string(c.Key), End: string(c.RangeEnd), Target: invalid, Result: invalid}
	if t, ok := compareTargets[c.Target]; ok {
		sc.Target = t
	}
	if r, ok := compareResults[c.Result]; ok {
		sc.Result = r
	}
	// As in etcd, a number given for another target counts as 0.
	switch c.Target {
	case pb.Compare_VERSION:
		sc.Number = c.GetVersion()
	case pb.Compare_CREATE:
		sc.Number = c.GetCreateRevision()
	case pb.Compare_MOD:
		sc.Number = c.GetModRevision()
	case pb.Compare_LEASE:
		sc.Number = c.GetLease()
	case pb.Compare_VALUE:
		sc.Value = c.GetValue()
	}
	return sc
}
