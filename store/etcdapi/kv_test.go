package etcdapi_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store/etcdapi"
)

// keysOf is a range's answer as text: the keys, then More and Count.
func keysOf(r *pb.RangeResponse) string {
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, string(kv.Key)+"="+string(kv.Value))
	}
	return fmt.Sprintf("%s more=%v count=%d", strings.Join(keys, " "), r.More, r.Count)
}

func TestRange(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	for i, kv := range []string{"a=3", "b=1", "c=2", "b=4"} { // revisions 2 to 5
		if rev := put(t, c, kv[:1], kv[2:]); rev != int64(i+2) {
			t.Fatalf("revision %d", rev)
		}
	}
	all := func(f func(*pb.RangeRequest)) *pb.RangeRequest {
		r := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}}
		f(r)
		return r
	}
	for name, test := range map[string]struct {
		r    *pb.RangeRequest
		want string
	}{
		"one key":       {&pb.RangeRequest{Key: []byte("b")}, "b=4 more=false count=1"},
		"no key":        {&pb.RangeRequest{Key: []byte("x")}, " more=false count=0"},
		"half open":     {&pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("c")}, "a=3 b=4 more=false count=2"},
		"empty range":   {&pb.RangeRequest{Key: []byte("c"), RangeEnd: []byte("a")}, " more=false count=0"},
		"to the end":    {all(func(r *pb.RangeRequest) {}), "a=3 b=4 c=2 more=false count=3"},
		"limit":         {all(func(r *pb.RangeRequest) { r.Limit = 2 }), "a=3 b=4 more=true count=3"},
		"limit of all":  {all(func(r *pb.RangeRequest) { r.Limit = 3 }), "a=3 b=4 c=2 more=false count=3"},
		"past":          {all(func(r *pb.RangeRequest) { r.Revision = 3 }), "a=3 b=1 more=false count=2"},
		"count only":    {all(func(r *pb.RangeRequest) { r.CountOnly = true }), " more=false count=3"},
		"count, limit":  {all(func(r *pb.RangeRequest) { r.CountOnly, r.Limit = true, 1 }), " more=false count=3"},
		"keys only":     {all(func(r *pb.RangeRequest) { r.KeysOnly = true }), "a= b= c= more=false count=3"},
		"descending":    {all(func(r *pb.RangeRequest) { r.SortOrder, r.Limit = pb.RangeRequest_DESCEND, 2 }), "c=2 b=4 more=true count=3"},
		"by value":      {all(func(r *pb.RangeRequest) { r.SortTarget = pb.RangeRequest_VALUE }), "c=2 a=3 b=4 more=false count=3"},
		"by value, key": {all(func(r *pb.RangeRequest) { r.SortTarget, r.KeysOnly = pb.RangeRequest_VALUE, true }), "c= a= b= more=false count=3"},
		"by version": {all(func(r *pb.RangeRequest) {
			r.SortTarget, r.SortOrder = pb.RangeRequest_VERSION, pb.RangeRequest_DESCEND
			r.Limit = 1
		}), "b=4 more=true count=3"},
		"changed since": {all(func(r *pb.RangeRequest) { r.MinModRevision = 4 }), "b=4 c=2 more=false count=3"},
		"changed until": {all(func(r *pb.RangeRequest) { r.MaxModRevision, r.Limit = 4, 1 }), "a=3 more=true count=3"},
		"made since":    {all(func(r *pb.RangeRequest) { r.MinCreateRevision = 4 }), "c=2 more=false count=3"},
		"made until":    {all(func(r *pb.RangeRequest) { r.MaxCreateRevision = 3 }), "a=3 b=4 more=false count=3"},
	} {
		for _, serializable := range []bool{false, true} {
			test.r.Serializable = serializable
			r, err := c.Range(t.Context(), test.r)
			if err != nil {
				t.Fatal(name, err)
			}
			if got := keysOf(r); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
			if r.Header.Revision != 5 || r.Header.ClusterId == 0 || r.Header.MemberId == 0 || r.Header.RaftTerm == 0 {
				t.Errorf("%s: header %v", name, r.Header)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	c := serve(t, etcdapi.Config{MaxRequestBytes: 1 << 20})
	for range 10 {
		put(t, c, "k", "v") // to revision 11
	}
	if _, err := c.Compact(t.Context(), &pb.CompactionRequest{Revision: 5, Physical: true}); err != nil {
		t.Fatal(err)
	}
	k := []byte("k")
	rng := func(r *pb.RangeRequest) error { _, err := c.Range(t.Context(), r); return err }
	set := func(r *pb.PutRequest) error { _, err := c.Put(t.Context(), r); return err }
	txn := func(ops ...*pb.RequestOp) error {
		_, err := c.Txn(t.Context(), &pb.TxnRequest{Success: ops})
		return err
	}
	compact := func(rev int64) error {
		_, err := c.Compact(t.Context(), &pb.CompactionRequest{Revision: rev})
		return err
	}
	many := make([]*pb.RequestOp, 129)
	for i := range many {
		many[i] = opPut(fmt.Sprint(i), "")
	}
	for name, test := range map[string]struct{ got, want error }{
		"range without key":    {rng(&pb.RangeRequest{}), rpctypes.ErrGRPCEmptyKey},
		"range in the past":    {rng(&pb.RangeRequest{Key: k, Revision: 4}), rpctypes.ErrGRPCCompacted},
		"range in the future":  {rng(&pb.RangeRequest{Key: k, Revision: 99}), rpctypes.ErrGRPCFutureRev},
		"range, bad order":     {rng(&pb.RangeRequest{Key: k, SortOrder: 9}), rpctypes.ErrGRPCInvalidSortOption},
		"put without key":      {set(&pb.PutRequest{}), rpctypes.ErrGRPCEmptyKey},
		"put two values":       {set(&pb.PutRequest{Key: k, Value: k, IgnoreValue: true}), rpctypes.ErrGRPCValueProvided},
		"put two leases":       {set(&pb.PutRequest{Key: k, Lease: 1, IgnoreLease: true}), rpctypes.ErrGRPCLeaseProvided},
		"put too much":         {set(&pb.PutRequest{Key: k, Value: make([]byte, 1<<20)}), rpctypes.ErrGRPCRequestTooLarge},
		"compact again":        {compact(5), rpctypes.ErrGRPCCompacted},
		"compact the future":   {compact(99), rpctypes.ErrGRPCFutureRev},
		"txn of too many":      {txn(many...), rpctypes.ErrGRPCTooManyOps},
		"txn of nothing":       {txn(&pb.RequestOp{}), rpctypes.ErrGRPCKeyNotFound},
		"txn puts twice":       {txn(opPut("k", ""), opPut("k", "")), rpctypes.ErrGRPCDuplicateKey},
		"txn puts and deletes": {txn(opPut("k", ""), opDelete("a", "z")), rpctypes.ErrGRPCDuplicateKey},
		"txn reads the past":   {txn(opRange("k", 4)), rpctypes.ErrGRPCCompacted},
		"txn reads the future": {txn(opRange("k", 99), opPut("k", "")), rpctypes.ErrGRPCFutureRev},
		"txn too large":        {txn(opPut("k", strings.Repeat("x", 1<<20))), rpctypes.ErrGRPCRequestTooLarge},
	} {
		if rpctypes.ErrorDesc(test.got) != rpctypes.ErrorDesc(test.want) || test.got == nil {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
	if rev := c.store.Revision(); rev != 11 {
		t.Errorf("revision %d: a refused request changed something", rev)
	}
}

func opPut(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}}
}

func opDelete(key, end string) *pb.RequestOp {
	r := &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end), PrevKv: true}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
}

func opRange(key string, rev int64) *pb.RequestOp {
	r := &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte{0}, Revision: rev}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func TestTxn(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	put(t, c, "a", "1") // 2
	put(t, c, "b", "1") // 3
	r, err := c.Txn(t.Context(), &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: []byte("a"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("1")}}},
		Success: []*pb.RequestOp{opRange("a", 0), opPut("c", "2"), opDelete("a", ""), opRange("a", 0), opRange("a", 2)},
		Failure: []*pb.RequestOp{opPut("d", "")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range r.Responses {
		switch op := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			got = append(got, fmt.Sprint(op.ResponseRange.Header.Revision, " ", keysOf(op.ResponseRange)))
		case *pb.ResponseOp_ResponsePut:
			got = append(got, fmt.Sprint(op.ResponsePut.Header.Revision, " put"))
		case *pb.ResponseOp_ResponseDeleteRange:
			got = append(got, fmt.Sprint(op.ResponseDeleteRange.Header.Revision, " deleted ", op.ResponseDeleteRange.Deleted))
		}
	}
	const want = "3 a=1 b=1 more=false count=2, 4 put, 4 deleted 1, 4 b=1 c=2 more=false count=2, 4 a=1 more=false count=1"
	if s := strings.Join(got, ", "); !r.Succeeded || r.Header.Revision != 4 || s != want {
		t.Errorf("%v %d %s", r.Succeeded, r.Header.Revision, s)
	}
}

// TestRangeStream puts the parts of a long answer together, which must be the answer of Range.
func TestRangeStream(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	for i := range 40 {
		put(t, c, fmt.Sprintf("k%02d", i), strings.Repeat("v", 50_000))
	}
	for name, r := range map[string]*pb.RangeRequest{
		"all":   {Key: []byte("k"), RangeEnd: []byte{0}},
		"limit": {Key: []byte("k"), RangeEnd: []byte{0}, Limit: 30},
		"past":  {Key: []byte("k"), RangeEnd: []byte{0}, Revision: 20, KeysOnly: true},
		"none":  {Key: []byte("x"), RangeEnd: []byte{0}},
		"count": {Key: []byte("k"), RangeEnd: []byte{0}, CountOnly: true},
	} {
		want, err := c.Range(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.RangeStream(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got, parts := &pb.RangeResponse{}, 0
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(name, err)
			}
			proto.Merge(got, part.RangeResponse)
			parts++
		}
		if !proto.Equal(got, want) {
			t.Errorf("%s: the stream's answer differs: %s, want %s", name, got.Header, want.Header)
		}
		if name == "all" && parts < 3 {
			t.Errorf("%d parts", parts)
		}
	}
}

func TestPutPrevious(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	put(t, c, "k", "old")
	r, err := c.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: []byte("new"), PrevKv: true})
	want := &mvccpb.KeyValue{Key: []byte("k"), Value: []byte("old"), CreateRevision: 2, ModRevision: 2, Version: 1}
	if err != nil || !proto.Equal(r.PrevKv, want) {
		t.Errorf("%v, %v", r, err)
	}
	d, err := c.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: []byte("k"), PrevKv: true})
	if err != nil || d.Deleted != 1 || string(d.PrevKvs[0].Value) != "new" || d.Header.Revision != 4 {
		t.Errorf("%v, %v", d, err)
	}
	if d, err := c.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: []byte("k")}); err != nil || d.Deleted != 0 || d.Header.Revision != 4 {
		t.Errorf("deletion of nothing: %v, %v", d, err)
	}
}
