package etcdapi

import (
	"maps"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// What etcd says about bad requests before it looks at the data.

func checkRange(r *pb.RangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	_, order := pb.RangeRequest_SortOrder_name[int32(r.SortOrder)]
	_, target := pb.RangeRequest_SortTarget_name[int32(r.SortTarget)]
	if !order || !target {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

func checkPut(r *pb.PutRequest) error {
	switch {
	case len(r.GetKey()) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkDelete(r *pb.DeleteRangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

// checkTxn checks a transaction and what it nests.
func checkTxn(r *pb.TxnRequest, maxOps int) error {
	if err := checkOps(r, maxOps); err != nil {
		return err
	}
	if len(r.Success) < 2 && len(r.Failure) < 2 && !nests(r) {
		return nil // most are: nothing to clash with
	}
	// After the bound on operations, which bounds what this costs.
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		if _, err := changesOf(ops); err != nil {
			return err
		}
	}
	return nil
}

func nests(r *pb.TxnRequest) bool {
	isTxn := func(op *pb.RequestOp) bool { return op.GetRequestTxn() != nil }
	return slices.ContainsFunc(r.Success, isTxn) || slices.ContainsFunc(r.Failure, isTxn)
}

func checkOps(r *pb.TxnRequest, maxOps int) error {
	n := max(len(r.GetCompare()), len(r.GetSuccess()), len(r.GetFailure()))
	if n > maxOps {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.GetCompare() {
		if len(c.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, ops := range [][]*pb.RequestOp{r.GetSuccess(), r.GetFailure()} {
		for _, op := range ops {
			if err := checkOp(op, maxOps-n); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, maxOps int) error {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return checkRange(r.RequestRange)
	case *pb.RequestOp_RequestPut:
		return checkPut(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return checkDelete(r.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return checkOps(r.RequestTxn, maxOps)
	}
	return rpctypes.ErrGRPCKeyNotFound // as etcd says of an operation that is none
}

// changes are the keys that operations put and the ranges that they delete.
type changes struct {
	puts    map[string]struct{}
	deletes []interval
}

type interval struct{ key, end string }

// end as etcd's range_end: empty for the one key, a zero byte for the end of the key space.
func (i interval) holds(key string) bool {
	switch i.end {
	case "":
		return key == i.key
	case "\x00":
		return key >= i.key
	}
	return key >= i.key && key < i.end
}

// changesOf gathers what operations change, and fails when they put a key twice, or put one that they delete.
// The branches of a nested transaction may put the same key, since one of them runs. etcd overlooks a nested
// transaction that deletes what another one put before it; here each change of a key has a revision of its own.
func changesOf(ops []*pb.RequestOp) (changes, error) {
	all := changes{puts: map[string]struct{}{}}
	var own []string
	for _, op := range ops {
		if r := op.GetRequestDeleteRange(); r != nil {
			all.deletes = append(all.deletes, interval{string(r.Key), string(r.RangeEnd)})
		}
		if r := op.GetRequestPut(); r != nil {
			own = append(own, string(r.Key))
		}
	}
	for _, op := range ops {
		if r := op.GetRequestTxn(); r != nil {
			if err := all.nest(r); err != nil {
				return all, err
			}
		}
	}
	slices.Sort(own)
	return all, all.put(own)
}

// nest adds a nested transaction's changes.
func (all *changes) nest(r *pb.TxnRequest) error {
	then, err := changesOf(r.Success)
	if err != nil {
		return err
	}
	otherwise, err := changesOf(r.Failure)
	if err != nil {
		return err
	}
	maps.Copy(then.puts, otherwise.puts)
	deletes := append(then.deletes, otherwise.deletes...)
	if clash(slices.Sorted(maps.Keys(all.puts)), deletes) {
		return rpctypes.ErrGRPCDuplicateKey
	}
	if err := all.put(slices.Sorted(maps.Keys(then.puts))); err != nil {
		return err
	}
	all.deletes = append(all.deletes, deletes...)
	return nil
}

// put adds keys that are put, in order.
func (all *changes) put(keys []string) error {
	if clash(keys, all.deletes) {
		return rpctypes.ErrGRPCDuplicateKey
	}
	for _, key := range keys {
		if _, twice := all.puts[key]; twice {
			return rpctypes.ErrGRPCDuplicateKey
		}
		all.puts[key] = struct{}{}
	}
	return nil
}

// clash tells whether any of the keys, which are in order, is in any of the ranges.
func clash(keys []string, deletes []interval) bool {
	return slices.ContainsFunc(deletes, func(d interval) bool {
		at, _ := slices.BinarySearch(keys, d.key)
		return at < len(keys) && d.holds(keys[at])
	})
}
