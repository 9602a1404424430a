package etcdapi

import (
	"context"
	"encoding/binary"
	"hash"
	"hash/crc32"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store"
)

type maintenanceServer struct {
	*Server
	pb.UnimplementedMaintenanceServer
}

// protocolVersion is the etcd whose API this is; clients look at it to know what they may ask for.
const protocolVersion = "3.7.3"

// storageVersion is what an etcd of that version calls its files' format.
const storageVersion = "3.7.0"

var errAlone = status.Error(codes.FailedPrecondition, "etcdserver: the store is not part of a cluster")

// Alarm lists no alarms: what etcd raises them for, a full or a corrupt database, makes a store refuse
// changes by itself, until that is repaired.
func (s *maintenanceServer) Alarm(_ context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	if r.Action == pb.AlarmRequest_ACTIVATE {
		return nil, status.Error(codes.Unimplemented, "etcdserver: alarms cannot be raised by hand")
	}
	return &pb.AlarmResponse{Header: s.nowHeader()}, nil
}

func (s *maintenanceServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, inUse := s.standing(), s.cfg.Store.Stats().Bytes
	resp := &pb.StatusResponse{
		Header: s.nowHeader(), Version: protocolVersion, StorageVersion: storageVersion,
		DbSize: max(st.Bytes, inUse), DbSizeInUse: inUse,
		Leader: idOf(st.Leader), IsLearner: st.Learner,
		RaftTerm: st.Term, RaftIndex: st.CommitIndex, RaftAppliedIndex: st.AppliedIndex,
		DowngradeInfo: &pb.DowngradeInfo{},
	}
	if st.Leader == "" {
		resp.Errors = append(resp.Errors, "etcdserver: no leader")
	}
	return resp, nil
}

// Defragment has nothing to do: the data is in memory, and the log and the snapshots are cut off and
// replaced as files.
func (s *maintenanceServer) Defragment(context.Context, *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	return &pb.DefragmentResponse{Header: s.nowHeader()}, nil
}

func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	st := s.standing()
	if st.Leader != st.Name {
		return nil, rpctypes.ErrGRPCNotLeader
	}
	to, err := memberByID(st.Members, r.TargetID)
	if err != nil || to.Learner {
		return nil, rpctypes.ErrGRPCBadLeaderTransferee
	}
	err = s.change(ctx, func(ctx context.Context, c Cluster) error { return c.Lead(ctx, to.Name) })
	if err != nil {
		return nil, err
	}
	return &pb.MoveLeaderResponse{Header: s.nowHeader()}, nil
}

// Hash and HashKV give the same number on every member that has the same data at the revision.

func (s *maintenanceServer) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	h, res, err := s.hash(ctx, 0)
	if err != nil {
		return nil, err
	}
	return &pb.HashResponse{Header: s.header(res.Revision), Hash: h}, nil
}

func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	if r.Revision < 0 {
		return nil, rpctypes.ErrGRPCCompacted
	}
	h, res, err := s.hash(ctx, r.Revision)
	if err != nil {
		return nil, err
	}
	return &pb.HashKVResponse{
		Header: s.nowHeader(), Hash: h, HashRevision: res.Revision,
		CompactRevision: min(s.cfg.Store.Stats().OldestRevision, res.Revision),
	}, nil
}

func (s *maintenanceServer) hash(ctx context.Context, revision int64) (uint32, store.RangeResult, error) {
	res, err := s.cfg.Store.Range(ctx, store.Range{End: "\x00", Revision: revision})
	if err != nil {
		return 0, res, toStatus(err)
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, e := range res.Entries {
		hashEntry(h, e)
	}
	return h.Sum32(), res, ctx.Err()
}

func hashEntry(h hash.Hash32, e *store.Entry) {
	var b [7 * 8]byte
	for i, n := range []int64{int64(len(e.Key)), int64(len(e.Value)), e.CreateRevision, e.ModRevision, e.Version, int64(e.Lease)} {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(n))
	}
	_, _ = h.Write(b[:])
	_, _ = h.Write(keyOf(e))
	_, _ = h.Write(e.Value)
}
