package etcdapi

import (
	"context"
	"hash/fnv"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Cluster is a replicated store's view of its cluster, from one member. Package etcdraft has the one of a
// raft.Node. Errors are the store's, or rpctypes'.
type Cluster interface {
	// Status tells how the member stands; it is asked for several times a second.
	Status() Status
	// Add adds a member that is reached at an address. Its name is chosen by the implementation when it is
	// empty.
	Add(ctx context.Context, m Member) error
	Remove(ctx context.Context, name string) error
	// Promote makes a learner a voter.
	Promote(ctx context.Context, name string) error
	// SetAddress changes where a member is reached.
	SetAddress(ctx context.Context, name, address string) error
	// Lead hands leadership to a member; only the leader can.
	Lead(ctx context.Context, name string) error
}

// Member is a member of a cluster.
type Member struct {
	Name, Address string
	Learner       bool
}

// Status is how a member stands.
type Status struct {
	// Name is the member's own name, Leader the leader's, empty when there is none.
	Name, Leader string
	Learner      bool
	Term         uint64
	// CommitIndex and AppliedIndex are positions in the log.
	CommitIndex, AppliedIndex uint64
	// Bytes is what the store takes on the disk.
	Bytes   int64
	Members []Member
}

// statusAge is how old the status in a response's header may be.
const statusAge = 50 * time.Millisecond

// statusCache spares each request the question how the cluster stands.
type statusCache struct {
	cluster Cluster
	last    atomic.Pointer[cachedStatus]
	asking  atomic.Bool
}

type cachedStatus struct {
	Status
	at time.Time
}

func (c *statusCache) get() *cachedStatus {
	last := c.last.Load()
	if last != nil && time.Since(last.at) < statusAge {
		return last
	}
	if last != nil && !c.asking.CompareAndSwap(false, true) {
		return last // somebody else asks
	}
	defer c.asking.Store(false)
	return c.ask()
}

func (c *statusCache) ask() *cachedStatus {
	fresh := &cachedStatus{Status: c.cluster.Status(), at: time.Now()}
	c.last.Store(fresh)
	return fresh
}

// idOf makes the number that etcd knows a cluster or member by of its name; never 0, which means none.
func idOf(name string) uint64 {
	if name == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return max(h.Sum64(), 1)
}

// standing is how the cluster stands now.
func (s *Server) standing() Status {
	if s.cfg.Cluster == nil {
		return s.alone()
	}
	return s.status.ask().Status
}

// alone is the status of a store without a cluster: its own leader.
func (s *Server) alone() Status {
	name := s.cfg.Name
	return Status{Name: name, Leader: name, Term: 1, Members: []Member{{Name: name}}}
}

// hasLeader tells whether there is a leader, as far as this member knows.
func (s *Server) hasLeader() bool {
	return s.cfg.Cluster == nil || s.status.get().Leader != ""
}

func (s *Server) header(revision int64) *pb.ResponseHeader {
	h := &pb.ResponseHeader{ClusterId: idOf(s.cfg.ClusterName), Revision: revision}
	if s.cfg.Cluster == nil {
		h.MemberId, h.RaftTerm = idOf(s.cfg.Name), 1
		return h
	}
	st := s.status.get()
	h.MemberId, h.RaftTerm = idOf(st.Name), st.Term
	return h
}

// nowHeader is a header with the store's revision of now.
func (s *Server) nowHeader() *pb.ResponseHeader { return s.header(s.cfg.Store.Revision()) }

func (s *Server) member(m Member) *pb.Member {
	p := &pb.Member{ID: idOf(m.Name), Name: m.Name, IsLearner: m.Learner, ClientURLs: s.cfg.ClientURLs(m.Name)}
	if m.Address != "" {
		p.PeerURLs = []string{"https://" + m.Address}
	}
	return p
}

func (s *Server) members(ms []Member) []*pb.Member {
	ps := make([]*pb.Member, len(ms))
	for i := range ms {
		ps[i] = s.member(ms[i])
	}
	return ps
}

// memberByID finds a member by etcd's number.
func memberByID(ms []Member, id uint64) (Member, error) {
	for _, m := range ms {
		if idOf(m.Name) == id {
			return m, nil
		}
	}
	return Member{}, rpctypes.ErrGRPCMemberNotFound
}

// peerAddress is the address in the one URL of a member.
func peerAddress(urls []string) (string, error) {
	if len(urls) != 1 {
		return "", rpctypes.ErrGRPCMemberBadURLs
	}
	u, err := url.Parse(urls[0])
	if err != nil || u.Host == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return "", rpctypes.ErrGRPCMemberBadURLs
	}
	return u.Host, nil
}
