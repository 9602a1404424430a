package etcdapi

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store"
)

type kvServer struct {
	*Server
	pb.UnimplementedKVServer
}

// bound gives a request of a patient client an end.
func (s *Server) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.cfg.RequestTimeout)
}

// begin checks what concerns every call.
func (s *Server) begin(ctx context.Context) error {
	if requiresLeader(ctx) && !s.hasLeader() {
		return rpctypes.ErrGRPCNoLeader
	}
	return nil
}

func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := checkRange(r); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	res, err := s.cfg.Store.Range(ctx, toRange(r))
	if err != nil {
		return nil, toStatus(err)
	}
	resp := rangeResponse(r, res.Entries, res.Count)
	resp.Header = s.header(max(res.Revision, s.readRevision(r)))
	return resp, nil
}

// readRevision is what a header tells beside the past: the newest revision.
func (s *Server) readRevision(r *pb.RangeRequest) int64 {
	if r.Revision <= 0 {
		return 0 // the newest is what was read
	}
	return s.cfg.Store.Revision()
}

func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	if err := checkPut(r); err != nil {
		return nil, err
	}
	if len(r.Key)+len(r.Value) > s.cfg.MaxRequestBytes {
		return nil, rpctypes.ErrGRPCRequestTooLarge
	}
	res, err := s.write(ctx, store.Txn{Then: []store.Op{toPut(r)}})
	if err != nil {
		return nil, err
	}
	resp := putResponse(r, &res.Results[0])
	resp.Header = s.header(res.Revision)
	return resp, nil
}

func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if err := checkDelete(r); err != nil {
		return nil, err
	}
	res, err := s.write(ctx, store.Txn{Then: []store.Op{toDelete(r)}})
	if err != nil {
		return nil, err
	}
	resp := deleteResponse(r, &res.Results[0])
	resp.Header = s.header(res.Revision)
	return resp, nil
}

// write runs a transaction that may change something.
func (s *kvServer) write(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	if err := s.begin(ctx); err != nil {
		return store.TxnResult{}, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	res, err := s.cfg.Store.Txn(ctx, t)
	return res, toStatus(err)
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := checkTxn(r, s.cfg.MaxTxnOps); err != nil {
		return nil, err
	}
	if proto.Size(r) > s.cfg.MaxRequestBytes {
		return nil, rpctypes.ErrGRPCRequestTooLarge
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	call := txnCall{store: s.cfg.Store, request: r}
	resp, err := call.run(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	resp.Header = s.header(resp.Header.GetRevision())
	return resp, nil
}

// Compact lets go of the past. It is physical whether that was asked for or not: when the store has
// compacted, the memory is free.
func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.cfg.Store.Compact(ctx, r.Revision); err != nil {
		return nil, toStatus(err)
	}
	return &pb.CompactionResponse{Header: s.nowHeader()}, nil
}
