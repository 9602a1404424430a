package etcd

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

func sortBytes(keys [][]byte) { slices.SortFunc(keys, bytes.Compare) }

func sortLeases(leases []*pb.LeaseStatus) {
	slices.SortFunc(leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
}

// watchRequests are watches of all that the generator's servers still know.
func watchRequests(g *generator) []*pb.WatchCreateRequest {
	from := g.compacted + 1
	return []*pb.WatchCreateRequest{
		{RangeEnd: []byte{0}, StartRevision: from},
		{RangeEnd: []byte{0}, StartRevision: from + 1, PrevKv: true},
		{Key: []byte("a"), RangeEnd: []byte("b"), StartRevision: from},
		{Key: []byte("b1"), StartRevision: from, Fragment: true},
		{Key: []byte("b"), RangeEnd: []byte{0}, StartRevision: from, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}},
		{Key: []byte("a1"), RangeEnd: []byte("c"), StartRevision: from, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}},
	}
}

// watchAll gathers what a watch is told up to a revision. That it has been told everything is what the
// server says when it is asked for progress.
func watchAll(t *testing.T, s server, r *pb.WatchCreateRequest, until int64) []*mvccpb.Event {
	t.Helper()
	stream, err := s.watch.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(r *pb.WatchRequest) {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	var events []*mvccpb.Event
	for {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Canceled {
			t.Fatalf("canceled: %v", resp)
		}
		events = append(events, resp.Events...)
		if len(resp.Events) == 0 && !resp.Created && resp.Header.Revision >= until {
			return events
		}
		// etcd does not answer while the watch is behind: ask again.
		send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	}
}
