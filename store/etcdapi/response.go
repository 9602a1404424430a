package etcdapi

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/inboard/inboard/store"
)

// keyOf is an entry's key as bytes, without a copy: messages are only read, to be sent.
func keyOf(e *store.Entry) []byte { return unsafe.Slice(unsafe.StringData(e.Key), len(e.Key)) }

func fill(kv *mvccpb.KeyValue, e *store.Entry) {
	kv.Key, kv.Value = keyOf(e), e.Value
	kv.CreateRevision, kv.ModRevision, kv.Version = e.CreateRevision, e.ModRevision, e.Version
	kv.Lease = int64(e.Lease)
}

func keyValue(e *store.Entry) *mvccpb.KeyValue {
	kv := new(mvccpb.KeyValue)
	fill(kv, e)
	return kv
}

// keyValues share the entries' bytes, and one allocation.
func keyValues(entries []*store.Entry, keysOnly bool) []*mvccpb.KeyValue {
	if len(entries) == 0 {
		return nil
	}
	slab := make([]mvccpb.KeyValue, len(entries))
	kvs := make([]*mvccpb.KeyValue, len(entries))
	for i, e := range entries {
		fill(&slab[i], e)
		if keysOnly {
			slab[i].Value = nil
		}
		kvs[i] = &slab[i]
	}
	return kvs
}

// rangeResponse makes the answer of the entries found, of which the store may have left out those beyond
// the limit, and of their count. The header is the caller's.
func rangeResponse(r *pb.RangeRequest, entries []*store.Entry, count int) *pb.RangeResponse {
	resp := &pb.RangeResponse{Count: int64(count)}
	if r.CountOnly {
		return resp
	}
	kept := entries
	if filters(r) {
		kept = slices.DeleteFunc(slices.Clone(entries), func(e *store.Entry) bool { return leftOut(r, e) })
	}
	if !inKeyOrder(r) {
		kept = sorted(r, kept)
	}
	switch {
	case r.Limit > 0 && int64(len(kept)) > r.Limit:
		kept, resp.More = kept[:r.Limit], true
	case toLimit(r) != 0:
		resp.More = count > len(kept)
	}
	resp.Kvs = keyValues(kept, r.KeysOnly)
	return resp
}

func leftOut(r *pb.RangeRequest, e *store.Entry) bool {
	return (r.MaxModRevision != 0 && e.ModRevision > r.MaxModRevision) ||
		(r.MinModRevision != 0 && e.ModRevision < r.MinModRevision) ||
		(r.MaxCreateRevision != 0 && e.CreateRevision > r.MaxCreateRevision) ||
		(r.MinCreateRevision != 0 && e.CreateRevision < r.MinCreateRevision)
}

// sorted returns a sorted copy. Entries that are alike stay in key order, which etcd leaves open.
func sorted(r *pb.RangeRequest, entries []*store.Entry) []*store.Entry {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b *store.Entry) int {
		var order int
		switch r.SortTarget {
		case pb.RangeRequest_KEY:
			order = cmp.Compare(a.Key, b.Key)
		case pb.RangeRequest_VERSION:
			order = cmp.Compare(a.Version, b.Version)
		case pb.RangeRequest_CREATE:
			order = cmp.Compare(a.CreateRevision, b.CreateRevision)
		case pb.RangeRequest_MOD:
			order = cmp.Compare(a.ModRevision, b.ModRevision)
		case pb.RangeRequest_VALUE:
			order = bytes.Compare(a.Value, b.Value)
		}
		if r.SortOrder == pb.RangeRequest_DESCEND {
			order = -order
		}
		return order
	})
	return entries
}

func putResponse(r *pb.PutRequest, res *store.OpResult) *pb.PutResponse {
	resp := &pb.PutResponse{}
	if r.PrevKv && len(res.Prev) > 0 {
		resp.PrevKv = keyValue(res.Prev[0])
	}
	return resp
}

func deleteResponse(r *pb.DeleteRangeRequest, res *store.OpResult) *pb.DeleteRangeResponse {
	resp := &pb.DeleteRangeResponse{Deleted: int64(res.Count)}
	if r.PrevKv {
		resp.PrevKvs = keyValues(res.Prev, false)
	}
	return resp
}
