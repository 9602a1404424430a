package etcdapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"google.golang.org/grpc/metadata"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/etcdapi"
)

// TestSnapshot reads a snapshot as etcdctl does, and as the store does.
func TestSnapshot(t *testing.T) {
	c := serve(t, etcdapi.Config{})
	for i := range 100 {
		put(t, c, strings.Repeat("k", i+1), strings.Repeat("v", 3000))
	}
	stream, err := c.maint.Snapshot(t.Context(), &pb.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var blob []byte
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if first := len(blob) == 0; first != (r.Header != nil) {
			t.Errorf("header %v after %d bytes", r.Header, len(blob))
		}
		blob = append(blob, r.Blob...)
	}
	data, sum := blob[:len(blob)-sha256.Size], blob[len(blob)-sha256.Size:]
	if want := sha256.Sum256(data); len(data)%512 != 0 || !bytes.Equal(sum, want[:]) {
		t.Errorf("%d bytes with checksum %x, want %x", len(data), sum, want)
	}
	s, err := store.OpenBackup(store.Config{}, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Range(t.Context(), store.Range{End: "\x00"})
	if err != nil || r.Revision != 101 || r.Count != 100 {
		t.Error(r.Revision, r.Count, err)
	}
}

// TestHashKV tells equal states from different ones.
func TestHashKV(t *testing.T) {
	a, b := serve(t, etcdapi.Config{}), serve(t, etcdapi.Config{})
	hash := func(c *client, rev int64) uint32 {
		t.Helper()
		r, err := c.maint.HashKV(t.Context(), &pb.HashKVRequest{Revision: rev})
		if err != nil {
			t.Fatal(err)
		}
		return r.Hash
	}
	for _, c := range []*client{a, b} {
		put(t, c, "k", "v")
	}
	same := hash(a, 0)
	put(t, a, "k", "w")
	put(t, b, "kw", "")
	if hash(a, 2) != same || hash(b, 2) != same {
		t.Error("equal states have different hashes")
	}
	if x, y := hash(a, 0), hash(b, 0); x == y || x == same || y == same {
		t.Error("different states have the same hash", same, x, y)
	}
	if _, err := a.maint.HashKV(t.Context(), &pb.HashKVRequest{Revision: 99}); err == nil || err.Error() != rpctypes.ErrGRPCFutureRev.Error() {
		t.Error(err)
	}
}

// fakeCluster is a cluster that only exists on paper.
type fakeCluster struct {
	mu     sync.Mutex
	status etcdapi.Status
}

func (c *fakeCluster) Status() etcdapi.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	st.Members = append([]etcdapi.Member(nil), st.Members...)
	return st
}

func (c *fakeCluster) change(f func(*etcdapi.Status)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.status)
	return nil
}

func (c *fakeCluster) Add(_ context.Context, m etcdapi.Member) error {
	return c.change(func(s *etcdapi.Status) { s.Members = append(s.Members, m) })
}

func (c *fakeCluster) edit(name string, f func(*etcdapi.Member)) error {
	return c.change(func(s *etcdapi.Status) {
		for i := range s.Members {
			if s.Members[i].Name == name {
				f(&s.Members[i])
			}
		}
	})
}

func (c *fakeCluster) Remove(_ context.Context, name string) error {
	return c.change(func(s *etcdapi.Status) {
		for i, m := range s.Members {
			if m.Name == name {
				s.Members = append(s.Members[:i], s.Members[i+1:]...)
				return
			}
		}
	})
}

func (c *fakeCluster) Promote(_ context.Context, name string) error {
	return c.edit(name, func(m *etcdapi.Member) { m.Learner = false })
}

func (c *fakeCluster) SetAddress(_ context.Context, name, address string) error {
	return c.edit(name, func(m *etcdapi.Member) { m.Address = address })
}

func (c *fakeCluster) Lead(_ context.Context, name string) error {
	return c.change(func(s *etcdapi.Status) { s.Leader = name; s.Term++ })
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{status: etcdapi.Status{
		Name: "one", Leader: "one", Term: 3, CommitIndex: 9, AppliedIndex: 8, Bytes: 1000,
		Members: []etcdapi.Member{{Name: "one", Address: "10.0.0.1:2380"}, {Name: "two", Address: "10.0.0.2:2380"}},
	}}
}

func TestCluster(t *testing.T) {
	c := serve(t, etcdapi.Config{Cluster: newFakeCluster(), ClientURLs: func(name string) []string {
		return []string{"https://" + name + ":2379"}
	}})
	added, err := c.members.MemberAdd(t.Context(), &pb.MemberAddRequest{PeerURLs: []string{"https://10.0.0.3:2380"}, IsLearner: true})
	if err != nil || len(added.Members) != 3 || !added.Member.IsLearner {
		t.Fatal(added, err)
	}
	id := added.Member.ID
	if _, err := c.members.MemberAdd(t.Context(), &pb.MemberAddRequest{PeerURLs: []string{"https://10.0.0.3:2380"}}); err == nil || err.Error() != rpctypes.ErrGRPCPeerURLExist.Error() {
		t.Error(err)
	}
	if _, err := c.members.MemberAdd(t.Context(), &pb.MemberAddRequest{PeerURLs: []string{"nowhere"}}); err == nil || err.Error() != rpctypes.ErrGRPCMemberBadURLs.Error() {
		t.Error(err)
	}
	if _, err := c.maint.MoveLeader(t.Context(), &pb.MoveLeaderRequest{TargetID: id}); err == nil || err.Error() != rpctypes.ErrGRPCBadLeaderTransferee.Error() {
		t.Error("a learner leads", err)
	}
	if r, err := c.members.MemberPromote(t.Context(), &pb.MemberPromoteRequest{ID: id}); err != nil || r.Members[2].IsLearner {
		t.Error(r, err)
	}
	if _, err := c.members.MemberPromote(t.Context(), &pb.MemberPromoteRequest{ID: id}); err == nil || err.Error() != rpctypes.ErrGRPCMemberNotLearner.Error() {
		t.Error(err)
	}
	if r, err := c.members.MemberUpdate(t.Context(), &pb.MemberUpdateRequest{ID: id, PeerURLs: []string{"https://10.0.0.4:2380"}}); err != nil || r.Members[2].PeerURLs[0] != "https://10.0.0.4:2380" {
		t.Error(r, err)
	}
	l, err := c.members.MemberList(t.Context(), &pb.MemberListRequest{Linearizable: true})
	if err != nil || len(l.Members) != 3 || l.Members[1].Name != "two" || l.Members[1].ClientURLs[0] != "https://two:2379" {
		t.Error(l, err)
	}
	st, err := c.maint.Status(t.Context(), &pb.StatusRequest{})
	if err != nil || st.Leader != l.Members[0].ID || st.RaftTerm != 3 || st.RaftIndex != 9 || st.RaftAppliedIndex != 8 || st.DbSize != 1000 {
		t.Error(st, err)
	}
	if _, err := c.maint.MoveLeader(t.Context(), &pb.MoveLeaderRequest{TargetID: l.Members[1].ID}); err != nil {
		t.Error(err)
	}
	if _, err := c.maint.MoveLeader(t.Context(), &pb.MoveLeaderRequest{TargetID: l.Members[0].ID}); err == nil || err.Error() != rpctypes.ErrGRPCNotLeader.Error() {
		t.Error("not the leader any more", err)
	}
	if r, err := c.members.MemberRemove(t.Context(), &pb.MemberRemoveRequest{ID: id}); err != nil || len(r.Members) != 2 {
		t.Error(r, err)
	}
	if _, err := c.members.MemberRemove(t.Context(), &pb.MemberRemoveRequest{ID: id}); err == nil || err.Error() != rpctypes.ErrGRPCMemberNotFound.Error() {
		t.Error(err)
	}
}

// TestNoLeader ends the streams of clients that require a leader, and refuses their calls; others go on.
func TestNoLeader(t *testing.T) {
	cluster := newFakeCluster()
	c := serve(t, etcdapi.Config{Cluster: cluster, LeaderPatience: 300_000_000})
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader), patience)
	defer cancel()
	demanding, err := c.watch.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w, easy := watching{t, demanding}, c.watching(t)
	for _, w := range []watching{w, easy} {
		w.create(&pb.WatchCreateRequest{Key: []byte("k")})
		w.expect("0@1 created")
	}
	_ = cluster.change(func(s *etcdapi.Status) { s.Leader = "" })
	if _, err := demanding.Recv(); err == nil || err.Error() != rpctypes.ErrGRPCNoLeader.Error() {
		t.Error(err)
	}
	if _, err := c.Range(ctx, &pb.RangeRequest{Key: []byte("k"), Serializable: true}); err == nil || err.Error() != rpctypes.ErrGRPCNoLeader.Error() {
		t.Error(err)
	}
	put(t, c, "k", "v")
	easy.expect("0@2 PUT k=v@2")
}

func TestAlone(t *testing.T) {
	c := serve(t, etcdapi.Config{Name: "me"})
	put(t, c, "k", "value")
	l, err := c.members.MemberList(t.Context(), &pb.MemberListRequest{})
	if err != nil || len(l.Members) != 1 || l.Members[0].Name != "me" {
		t.Error(l, err)
	}
	if _, err := c.members.MemberAdd(t.Context(), &pb.MemberAddRequest{PeerURLs: []string{"https://10.0.0.3:2380"}}); err == nil {
		t.Error("a store without a cluster got a member")
	}
	st, err := c.maint.Status(t.Context(), &pb.StatusRequest{})
	if err != nil || st.Leader != l.Members[0].ID || st.Leader != st.Header.MemberId || len(st.Errors) > 0 || st.DbSize < 6 || st.DbSizeInUse != st.DbSize {
		t.Error(st, err)
	}
	if a, err := c.auth.AuthStatus(t.Context(), &pb.AuthStatusRequest{}); err != nil || a.Enabled {
		t.Error(a, err)
	}
	if _, err := c.auth.Authenticate(t.Context(), &pb.AuthenticateRequest{}); err == nil || err.Error() != rpctypes.ErrGRPCAuthNotEnabled.Error() {
		t.Error(err)
	}
}
