package etcdapi

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

type clusterServer struct {
	*Server
	pb.UnimplementedClusterServer
}

func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if r.Linearizable {
		ctx, cancel := s.bound(ctx)
		defer cancel()
		if err := s.cfg.Store.Sync(ctx); err != nil {
			return nil, toStatus(err)
		}
	}
	return &pb.MemberListResponse{Header: s.nowHeader(), Members: s.members(s.standing().Members)}, nil
}

func (s *clusterServer) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	address, err := peerAddress(r.PeerURLs)
	if err != nil {
		return nil, err
	}
	for _, m := range s.standing().Members {
		if m.Address == address {
			return nil, rpctypes.ErrGRPCPeerURLExist
		}
	}
	// etcd names a member when it starts; here the name is how members know each other. etcdctl's name
	// does not reach the server, so the address is the name.
	added := Member{Name: address, Address: address, Learner: r.IsLearner}
	err = s.change(ctx, func(ctx context.Context, c Cluster) error { return c.Add(ctx, added) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberAddResponse{Header: s.nowHeader(), Member: s.member(added), Members: s.members(s.standing().Members)}, nil
}

func (s *clusterServer) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	m, err := memberByID(s.standing().Members, r.ID)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func(ctx context.Context, c Cluster) error { return c.Remove(ctx, m.Name) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberRemoveResponse{Header: s.nowHeader(), Members: s.members(s.standing().Members)}, nil
}

func (s *clusterServer) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	m, err := memberByID(s.standing().Members, r.ID)
	if err != nil {
		return nil, err
	}
	address, err := peerAddress(r.PeerURLs)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func(ctx context.Context, c Cluster) error { return c.SetAddress(ctx, m.Name, address) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberUpdateResponse{Header: s.nowHeader(), Members: s.members(s.standing().Members)}, nil
}

func (s *clusterServer) MemberPromote(ctx context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	m, err := memberByID(s.standing().Members, r.ID)
	if err != nil {
		return nil, err
	}
	if !m.Learner {
		return nil, rpctypes.ErrGRPCMemberNotLearner
	}
	err = s.change(ctx, func(ctx context.Context, c Cluster) error { return c.Promote(ctx, m.Name) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberPromoteResponse{Header: s.nowHeader(), Members: s.members(s.standing().Members)}, nil
}

// change changes the membership, within the time that a request has.
func (s *Server) change(ctx context.Context, f func(context.Context, Cluster) error) error {
	if s.cfg.Cluster == nil {
		return errAlone
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return toStatus(f(ctx, s.cfg.Cluster))
}
