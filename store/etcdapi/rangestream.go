package etcdapi

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
)

// chunkBytes is about how much goes into one message of a long answer.
const chunkBytes = 512 << 10

// RangeStream answers a range in several messages, all of one revision. The entries are gathered at once,
// which copies nothing of them; the messages are made as the client takes them.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := checkRange(r); err != nil {
		return err
	}
	if !inKeyOrder(r) {
		return status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	}
	if filters(r) {
		return status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	}
	ctx := stream.Context()
	if err := s.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := s.bound(ctx)
	res, err := s.cfg.Store.Range(ctx, toRange(r))
	cancel()
	if err != nil {
		return toStatus(err)
	}
	entries := res.Entries
	if r.CountOnly {
		entries = nil
	}
	for {
		n := chunkOf(entries, r.KeysOnly)
		resp := &pb.RangeResponse{Kvs: keyValues(entries[:n], r.KeysOnly)}
		entries = entries[n:]
		if len(entries) == 0 {
			resp.Header = s.header(max(res.Revision, s.readRevision(r)))
			resp.Count = int64(res.Count)
			resp.More = res.More && !r.CountOnly
		}
		if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: resp}); err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
	}
}

// chunkOf is how many entries go into the next message: at least one, if there is one.
func chunkOf(entries []*store.Entry, keysOnly bool) int {
	const fields = 32 // numbers and lengths
	size := 0
	for i, e := range entries {
		size += len(e.Key) + fields
		if !keysOnly {
			size += len(e.Value)
		}
		if size > chunkBytes {
			return max(i, 1)
		}
	}
	return len(entries)
}
