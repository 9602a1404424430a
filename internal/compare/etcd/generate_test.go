package etcd

import (
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// generator makes requests that often meet: few keys, small numbers, and bad ones among them.
type generator struct {
	*rand.Rand
	// revision and compacted are those of the servers, to ask for what is near them.
	revision, compacted int64
}

// next is a request to KV or Lease.
func (g *generator) next() proto.Message {
	switch n := g.IntN(100); {
	case n < 30:
		return g.put()
	case n < 45:
		return g.delete()
	case n < 65:
		return g.rangeOf()
	case n < 90:
		return g.txn(2)
	case n < 92:
		return &pb.CompactionRequest{Revision: max(g.someRevision(), 1), Physical: g.rarely(2)}
	case n < 95:
		return &pb.LeaseGrantRequest{ID: g.leaseID(), TTL: 1000 + g.Int64N(10)}
	case n < 97:
		return &pb.LeaseRevokeRequest{ID: g.leaseID()}
	case n < 99:
		return &pb.LeaseTimeToLiveRequest{ID: g.leaseID(), Keys: g.rarely(2)}
	}
	return &pb.LeaseLeasesRequest{}
}

func (g *generator) rarely(n int) bool { return g.IntN(n) == 0 }

func (g *generator) leaseID() int64 { return 1 + g.Int64N(4) }

func (g *generator) key() []byte {
	if g.rarely(60) {
		return nil
	}
	return fmt.Append(nil, string("abc"[g.IntN(3)]), g.IntN(4))
}

func (g *generator) end() []byte {
	switch g.IntN(8) {
	case 0:
		return []byte{0}
	case 1, 2:
		return []byte(string("abcd"[g.IntN(4)]))
	case 3:
		return g.key()
	}
	return nil
}

// someRevision is one near the bounds of what is kept, or between.
func (g *generator) someRevision() int64 {
	switch g.IntN(5) {
	case 0:
		return g.compacted + g.Int64N(3) - 1
	case 1:
		return g.revision + g.Int64N(3) - 1
	case 2:
		return g.revision + 100
	}
	return g.compacted + g.Int64N(max(g.revision-g.compacted, 1))
}

func (g *generator) value() []byte { return fmt.Append(nil, g.IntN(5)) }

func (g *generator) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.rarely(2)}
	if g.rarely(4) {
		r.Lease = g.leaseID()
	}
	if r.IgnoreValue = g.rarely(8); r.IgnoreValue && !g.rarely(4) {
		r.Value = nil
	}
	if r.IgnoreLease = g.rarely(8); r.IgnoreLease && !g.rarely(4) {
		r.Lease = 0
	}
	return r
}

func (g *generator) delete() *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: g.key(), RangeEnd: g.end(), PrevKv: g.rarely(2)}
}

func (g *generator) rangeOf() *pb.RangeRequest {
	r := &pb.RangeRequest{
		Key: g.key(), RangeEnd: g.end(), Serializable: g.rarely(2), KeysOnly: g.rarely(5), CountOnly: g.rarely(6),
	}
	if g.rarely(4) {
		r.Revision = g.someRevision()
	}
	if g.rarely(2) {
		r.Limit = g.Int64N(6)
	}
	if g.rarely(4) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
		// etcd leaves the order of entries that are alike open; those of a target are never alike.
		r.SortTarget = []pb.RangeRequest_SortTarget{pb.RangeRequest_KEY, pb.RangeRequest_KEY, 9}[g.IntN(3)]
	}
	for _, bound := range []*int64{&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision} {
		if g.rarely(8) {
			*bound = g.someRevision()
		}
	}
	return r
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range g.IntN(3) {
		r.Compare = append(r.Compare, g.compare())
	}
	for range g.IntN(4) {
		r.Success = append(r.Success, g.op(depth))
	}
	for range g.IntN(3) {
		r.Failure = append(r.Failure, g.op(depth))
	}
	return r
}

func (g *generator) op(depth int) *pb.RequestOp {
	switch n := g.IntN(20); {
	case n < 7:
		r := g.put()
		if depth < 2 && len(r.Key) > 0 && r.Key[0] == 'c' {
			r.Key[0] = 'a' // see below
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	case n < 11:
		r := g.delete()
		if string(r.RangeEnd) == "\x00" {
			// etcd does not see that a deletion up to the end of the key space clashes with a put.
			r.RangeEnd = []byte("d")
		}
		if depth < 2 && len(r.Key) > 0 {
			// Nor when one nested transaction deletes what another one put before it.
			r.Key[0] = 'c'
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case n < 16 || depth == 0:
		r := g.rangeOf()
		r.Revision = 0 // see TestTxnOfThePast
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	case n < 19:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}}
	}
	return &pb.RequestOp{}
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Key: g.key(), RangeEnd: g.end(), Result: pb.Compare_CompareResult(g.IntN(4))}
	switch c.Target = pb.Compare_CompareTarget(g.IntN(5)); c.Target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: g.Int64N(4)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.someRevision()}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.someRevision()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.Int64N(4)}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	}
	return c
}
