package etcd

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/inboard/inboard/store"
)

var (
	seed     = flag.Uint64("seed", 0, "seed of the random requests; 0 chooses one")
	requests = flag.Int("requests", 5000, "number of random requests to both servers")
)

// server is one of the two that are compared.
type server struct {
	kv    pb.KVClient
	lease pb.LeaseClient
	watch pb.WatchClient
}

func dial(t testing.TB, addr string) server {
	t.Helper()
	conn := connect(t, addr).ActiveConnection()
	return server{pb.NewKVClient(conn), pb.NewLeaseClient(conn), pb.NewWatchClient(conn)}
}

func (s server) do(ctx context.Context, r proto.Message) (proto.Message, error) {
	switch r := r.(type) {
	case *pb.RangeRequest:
		return answer(s.kv.Range, ctx, r)
	case *pb.PutRequest:
		return answer(s.kv.Put, ctx, r)
	case *pb.DeleteRangeRequest:
		return answer(s.kv.DeleteRange, ctx, r)
	case *pb.TxnRequest:
		return answer(s.kv.Txn, ctx, r)
	case *pb.CompactionRequest:
		return answer(s.kv.Compact, ctx, r)
	case *pb.LeaseGrantRequest:
		return answer(s.lease.LeaseGrant, ctx, r)
	case *pb.LeaseRevokeRequest:
		return answer(s.lease.LeaseRevoke, ctx, r)
	case *pb.LeaseTimeToLiveRequest:
		return answer(s.lease.LeaseTimeToLive, ctx, r)
	case *pb.LeaseLeasesRequest:
		return answer(s.lease.LeaseLeases, ctx, r)
	}
	return nil, fmt.Errorf("no such request: %T", r)
}

func answer[Req, Resp proto.Message](call func(context.Context, Req, ...grpc.CallOption) (Resp, error), ctx context.Context, r Req) (proto.Message, error) {
	resp, err := call(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// headerOf is the header of any response.
func headerOf(resp proto.Message) *pb.ResponseHeader {
	m := resp.ProtoReflect()
	return m.Get(m.Descriptor().Fields().ByName("header")).Message().Interface().(*pb.ResponseHeader)
}

// plain takes out of an answer what may differ: whose it is, how much of a lease's time is left, the order of
// leases, and the lease of a key without its value, which etcd leaves out since 3.7.
func plain(resp proto.Message) proto.Message {
	if resp == nil {
		return nil
	}
	h := headerOf(resp)
	h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
	switch resp := resp.(type) {
	case *pb.LeaseTimeToLiveResponse:
		if resp.TTL > 0 {
			resp.TTL = resp.GrantedTTL
		}
		sortBytes(resp.Keys)
	case *pb.LeaseLeasesResponse:
		sortLeases(resp.Leases)
	case *pb.RangeResponse:
		plainKeys(resp.Kvs)
	case *pb.TxnResponse:
		plainParts(resp)
	}
	return resp
}

func plainParts(resp *pb.TxnResponse) {
	for _, op := range resp.Responses {
		plainKeys(op.GetResponseRange().GetKvs())
		if nested := op.GetResponseTxn(); nested != nil {
			plainParts(nested)
		}
	}
}

func plainKeys(kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		if len(kv.Value) == 0 {
			kv.Lease = 0
		}
	}
}

func text(m proto.Message) string {
	if m == nil || !m.ProtoReflect().IsValid() {
		return "nothing"
	}
	return prototext.MarshalOptions{}.Format(m)
}

// TestDifferential sends the same random requests to a store and to a real etcd, one after the other, and
// compares the answers field by field and the errors by code and text.
func TestDifferential(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	addr, _ := startStore(t, store.Config{})
	ours, theirs := dial(t, addr), dial(t, startEtcd(t))
	g := &generator{Rand: rand.New(rand.NewPCG(*seed, 0)), revision: 1}
	told := map[protoreflect.FullName]int{}
	for i := range *requests {
		r := g.next()
		if both(t, ours, theirs, g, i, r) {
			told[r.ProtoReflect().Descriptor().FullName()]++
		}
	}
	for i := range 3 { // so that no watch begins in the future
		both(t, ours, theirs, g, i, &pb.PutRequest{Key: []byte("b1"), Value: g.value()})
	}
	t.Logf("answers to compare: %v; revision %d, compacted %d", told, g.revision, g.compacted)
	for _, r := range watchRequests(g) {
		want, got := watchAll(t, theirs, r, g.revision), watchAll(t, ours, r, g.revision)
		if len(got) != len(want) {
			t.Fatalf("watch %s: %d events, want %d", text(r), len(got), len(want))
		}
		for i := range want {
			if !proto.Equal(got[i], want[i]) {
				t.Fatalf("watch %s, event %d\ngot  %s\nwant %s", text(r), i, text(got[i]), text(want[i]))
			}
		}
	}
}

// both sends a request to both servers, and tells whether it was one that succeeds.
func both(t *testing.T, ours, theirs server, g *generator, i int, r proto.Message) bool {
	t.Helper()
	want, wantErr := theirs.do(t.Context(), r)
	got, gotErr := ours.do(t.Context(), r)
	if !sameError(gotErr, wantErr) || !proto.Equal(plain(got), plain(want)) {
		t.Fatalf("request %d, %T %s\n\ngot  %v %s\n\nwant %v %s", i, r, text(r), gotErr, text(got), wantErr, text(want))
	}
	if wantErr != nil {
		return false
	}
	g.revision = max(g.revision, headerOf(want).Revision)
	if c, ok := r.(*pb.CompactionRequest); ok {
		g.compacted = c.Revision
	}
	return true
}

func sameError(a, b error) bool {
	x, y := status.Convert(a), status.Convert(b)
	return x.Code() == y.Code() && x.Message() == y.Message()
}
