package etcdapi

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store"
)

type leaseServer struct {
	*Server
	stop <-chan struct{}
	pb.UnimplementedLeaseServer
}

// The bounds of a lease's time in seconds: etcd's longest, and the shortest that its numbers can tell.
const (
	maxTTL = 9_000_000_000
	minTTL = 1
)

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	if r.TTL > maxTTL {
		return nil, rpctypes.ErrGRPCLeaseTTLTooLarge
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ttl := max(r.TTL, minTTL)
	id, err := s.cfg.Store.Grant(ctx, store.LeaseID(r.ID), time.Duration(ttl)*time.Second)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseGrantResponse{Header: s.nowHeader(), ID: int64(id), TTL: ttl}, nil
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.cfg.Store.Revoke(ctx, store.LeaseID(r.ID)); err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseRevokeResponse{Header: s.nowHeader()}, nil
}

func (s *leaseServer) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	info, err := s.cfg.Store.Lease(ctx, store.LeaseID(r.ID))
	if errors.Is(err, store.ErrLeaseNotFound) {
		return &pb.LeaseTimeToLiveResponse{Header: s.nowHeader(), ID: r.ID, TTL: -1}, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseTimeToLiveResponse{
		Header: s.nowHeader(), ID: r.ID,
		TTL: int64(info.Remaining / time.Second), GrantedTTL: int64(info.TTL / time.Second),
	}
	if r.Keys {
		for _, key := range info.Keys {
			resp.Keys = append(resp.Keys, []byte(key))
		}
	}
	return resp, nil
}

func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ids, err := s.cfg.Store.Leases(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseLeasesResponse{Header: s.nowHeader()}
	for _, id := range ids {
		resp.Leases = append(resp.Leases, &pb.LeaseStatus{ID: int64(id)})
	}
	return resp, nil
}

// LeaseKeepAlive renews leases one after the other, as the client asks. The goroutine that reads from the
// stream does the work; this one ends the stream when the server stops or the leader is gone.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	ctx := stream.Context()
	if err := s.begin(ctx); err != nil {
		return err
	}
	leader := s.leaderCheck(ctx)
	defer leader.stop()
	ended := make(chan error, 1)
	s.recv.Go(func() { ended <- s.keepAlive(stream) })
	for {
		select {
		case err := <-ended:
			return err
		case <-leader.tick():
			if err := leader.check(); err != nil {
				return err
			}
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-s.stop:
			return rpctypes.ErrGRPCStopped
		case <-s.cfg.Store.Done():
			return rpctypes.ErrGRPCStopped
		}
	}
}

func (s *leaseServer) keepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := s.renew(stream.Context(), store.LeaseID(r.ID))
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

func (s *leaseServer) renew(ctx context.Context, id store.LeaseID) (*pb.LeaseKeepAliveResponse, error) {
	// The header is of before the renewal: one that tells a later revision than that of the lease's end
	// would make the client believe that the lease outlived it.
	resp := &pb.LeaseKeepAliveResponse{Header: s.nowHeader(), ID: int64(id)}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ttl, err := s.cfg.Store.KeepAlive(ctx, id)
	switch {
	case err == nil:
		resp.TTL = int64(ttl / time.Second)
	case errors.Is(err, store.ErrLeaseNotFound): // told by a TTL of 0
	default:
		return nil, toStatus(err)
	}
	return resp, nil
}
