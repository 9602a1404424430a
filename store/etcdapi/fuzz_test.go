package etcdapi_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store/etcdapi"
)

// FuzzTxn sends what anyone may send as a transaction. The server answers or says what is wrong with it, and
// a transaction that is refused changes nothing.
func FuzzTxn(f *testing.F) {
	for _, r := range []*pb.TxnRequest{
		{},
		{Success: []*pb.RequestOp{opPut("a", "1"), opRange("a", 0), opDelete("b", "c")}, Failure: []*pb.RequestOp{{}}},
		{Compare: []*pb.Compare{{Key: []byte("a"), Target: pb.Compare_LEASE, Result: 3, RangeEnd: []byte{0}}, {Key: []byte("b"), Target: 9}}},
		{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{opRange("a", 2)}}}}}},
		{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{}}, {Request: &pb.RequestOp_RequestPut{}}}},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	c := serve(f, etcdapi.Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &pb.TxnRequest{}
		if proto.Unmarshal(b, r) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		before := c.store.Revision()
		resp, err := c.Txn(ctx, r)
		switch code := status.Code(err); code {
		case codes.OK:
			ops := r.Success
			if !resp.Succeeded {
				ops = r.Failure
			}
			if len(resp.Responses) != len(ops) || resp.Header.Revision < before || resp.Header.Revision > before+1 {
				t.Errorf("%v after revision %d", resp, before)
			}
		case codes.InvalidArgument, codes.OutOfRange, codes.NotFound:
			if after := c.store.Revision(); after != before {
				t.Errorf("revision %d after a refusal (%v) at %d", after, err, before)
			}
		default:
			t.Errorf("%v: %v", code, err)
		}
	})
}
