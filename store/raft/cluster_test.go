package raft_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

// trio is a cluster over real TLS connections on loopback.
type trio struct {
	t         testing.TB
	authority *authority
	dir       string
	configs   map[string]raft.Config
	nodes     map[string]*raft.Node
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newTrio(t testing.TB, ids ...string) *trio {
	c := &trio{t: t, authority: newAuthority(t), dir: t.TempDir(), configs: map[string]raft.Config{}, nodes: map[string]*raft.Node{}}
	var members []raft.Member
	for _, id := range ids {
		members = append(members, raft.Member{ID: id, Address: freeAddress(t)})
	}
	for _, m := range members {
		c.configure(m.ID, m.Address, members)
		c.open(m.ID)
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.close(id)
		}
	})
	for _, id := range ids {
		c.ready(id)
	}
	return c
}

func (c *trio) configure(id, address string, members []raft.Member) {
	c.configs[id] = raft.Config{
		Dir: filepath.Join(c.dir, id), ID: id, Address: address, Members: members,
		Network: c.authority.network(id), SnapshotEntries: 100, SegmentBytes: 64 << 10, ElectionTimeout: 500 * time.Millisecond,
	}
}

func (c *trio) open(id string) *raft.Node {
	c.t.Helper()
	n, err := raft.Open(c.configs[id])
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
	return n
}

func (c *trio) close(id string) {
	if err := c.nodes[id].Close(); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
	delete(c.nodes, id)
}

func (c *trio) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *trio) ready(id string) {
	c.t.Helper()
	if err := c.nodes[id].Ready(c.context()); err != nil {
		c.t.Fatalf("%s: %v", id, err)
	}
}

// leader waits until a node says that it leads.
func (c *trio) leader() string {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for id, n := range c.nodes {
			if n.Status().Leading {
				return id
			}
		}
	}
	c.t.Fatal("nobody leads")
	return ""
}

func (c *trio) follower() string {
	leader := c.leader()
	for id := range c.nodes {
		if id != leader {
			return id
		}
	}
	c.t.Fatal("nobody follows")
	return ""
}

// put writes through a node, again when it is not known whether it did.
func (c *trio) put(id, key, value string) {
	c.t.Helper()
	for {
		_, err := c.nodes[id].Store().Txn(c.context(), store.Txn{Then: []store.Op{store.OpPut(key, []byte(value))}})
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrUnknownOutcome) && !errors.Is(err, store.ErrNoLeader) {
			c.t.Fatalf("put through %s: %v", id, err)
		}
	}
}

// get reads linearizably from a node.
func (c *trio) get(id, key string) string {
	c.t.Helper()
	for {
		r, err := c.nodes[id].Store().Range(c.context(), store.Range{Key: key, Linearizable: true})
		switch {
		case errors.Is(err, store.ErrNoLeader):
			continue
		case err != nil:
			c.t.Fatalf("get from %s: %v", id, err)
		case len(r.Entries) == 0:
			return ""
		}
		return string(r.Entries[0].Value)
	}
}

// What is written through any member is read from every member.
func TestClusterAnyMember(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	for _, writer := range []string{"a", "b", "c"} {
		for i := range 50 {
			key := fmt.Sprintf("%s-%d", writer, i)
			c.put(writer, key, key)
			for _, reader := range []string{"a", "b", "c"} {
				if got := c.get(reader, key); got != key {
					t.Fatalf("%s was put through %s; %s reads %q", key, writer, reader, got)
				}
			}
		}
	}
}

// The leader goes, the others go on, it comes back and has all that it missed, by a snapshot.
func TestClusterLeaderGoes(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	c.put("a", "before", "1")
	gone := c.leader()
	c.close(gone)
	through := c.follower()
	for i := range 700 {
		c.put(through, fmt.Sprintf("key-%d", i), strings.Repeat("2", 500))
	}
	if got := c.get(through, "before"); got != "1" {
		t.Errorf("lost: %q", got)
	}
	back := c.open(gone)
	c.ready(gone)
	if got := c.get(gone, "key-699"); got != strings.Repeat("2", 500) {
		t.Errorf("%s came back and reads %q", gone, got)
	}
	if back.Store().Revision() != c.nodes[through].Store().Revision() {
		t.Errorf("revisions %d and %d", back.Store().Revision(), c.nodes[through].Store().Revision())
	}
}

// A minority takes no changes and confirms no reads, and says so.
func TestClusterMinority(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	c.put("a", "key", "1")
	c.close("b")
	c.close("c")
	ctx := c.context()
	_, err := c.nodes["a"].Store().Txn(ctx, store.Txn{Then: []store.Op{store.OpPut("key", []byte("2"))}})
	if !errors.Is(err, store.ErrNoLeader) && !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("a put says %v", err)
	}
	if err := c.nodes["a"].Store().Sync(ctx); !errors.Is(err, store.ErrNoLeader) {
		t.Errorf("a linearizable read says %v", err)
	}
	if e, _, err := c.nodes["a"].Store().Get(ctx, "key"); err != nil || string(e.Value) != "1" {
		t.Errorf("a local read: %v, %v", e, err)
	}
}

// A member is added, catches up, gets a vote, and another one goes for good.
func TestClusterMembers(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	for i := range 300 {
		c.put("a", fmt.Sprintf("key-%d", i), "1")
	}
	through := c.follower() // changes are forwarded to the leader
	address := freeAddress(t)
	c.configure("d", address, nil)
	c.open("d")
	if err := c.nodes[through].AddMember(c.context(), raft.Member{ID: "d", Address: address}); err != nil {
		t.Fatal(err)
	}
	c.ready("d")
	if got := c.get("d", "key-299"); got != "1" {
		t.Errorf("the new member reads %q", got)
	}
	if err := c.nodes[through].AddMember(c.context(), raft.Member{ID: "d", Address: address}); !errors.Is(err, raft.ErrMemberExists) {
		t.Errorf("added twice: %v", err)
	}
	gone := c.leader()
	if err := c.nodes["d"].RemoveMember(c.context(), gone); err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	c.close(gone)
	c.put("d", "after", "2")
	var ids []string
	for _, m := range c.nodes["d"].Members() {
		if m.Learner {
			t.Errorf("%s has no vote", m.ID)
		}
		ids = append(ids, m.ID)
	}
	if len(ids) != 3 || strings.Contains(strings.Join(ids, ""), gone) {
		t.Errorf("members %v after %s was removed", ids, gone)
	}
	if err := c.nodes["d"].RemoveMember(c.context(), "nobody"); !errors.Is(err, raft.ErrNoMember) {
		t.Errorf("nobody was removed: %v", err)
	}
}

// A learner gets everything, votes in nothing, and can be promoted later.
func TestClusterLearner(t *testing.T) {
	c := newTrio(t, "a")
	address := freeAddress(t)
	c.configure("l", address, nil)
	c.open("l")
	if err := c.nodes["a"].AddMember(c.context(), raft.Member{ID: "l", Address: address, Learner: true}); err != nil {
		t.Fatal(err)
	}
	c.put("l", "key", "1") // forwarded
	if got := c.get("l", "key"); got != "1" {
		t.Errorf("the learner reads %q", got)
	}
	if s := c.nodes["l"].Status(); !s.Learner || s.Leading {
		t.Errorf("status of the learner: %+v", s)
	}
	if err := c.nodes["a"].TransferLeadership(c.context(), "l"); err == nil {
		t.Error("a learner leads")
	}
	if err := c.nodes["l"].PromoteMember(c.context(), "l"); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["a"].TransferLeadership(c.context(), "l"); err != nil {
		t.Fatal(err)
	}
	if got := c.leader(); got != "l" {
		t.Errorf("%s leads", got)
	}
	c.put("a", "key", "2")
}

// Leases are kept alive through any member, and expire under a new leader, too.
func TestClusterLeases(t *testing.T) {
	c := newTrio(t, "a", "b", "c")
	s := c.nodes[c.follower()].Store()
	long, err := s.Grant(c.context(), 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	short, err := s.Grant(c.context(), 0, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for key, id := range map[string]store.LeaseID{"long": long, "short": short} {
		op := store.OpPut(key, nil)
		op.Lease = id
		if _, err := s.Txn(c.context(), store.Txn{Then: []store.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := s.KeepAlive(c.context(), long); err != nil || left != time.Hour {
		t.Errorf("kept alive for %v, %v", left, err)
	}
	if err := c.nodes["a"].TransferLeadership(c.context(), ""); err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(store.WatchConfig{Key: "short", SkipPuts: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Next(c.context()); err != nil {
		t.Fatalf("the short lease does not expire: %v", err)
	}
	if _, err := s.KeepAlive(c.context(), short); !errors.Is(err, store.ErrLeaseNotFound) {
		t.Errorf("a lease that expired: %v", err)
	}
	if info, err := s.Lease(c.context(), long); err != nil || len(info.Keys) != 1 || info.Remaining > time.Hour {
		t.Errorf("the long lease: %+v, %v", info, err)
	}
}

// The whole suite, through a follower.
func TestClusterConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		c := newTrio(t, "a", "b", "c")
		return storetest.Local(c.nodes[c.follower()].Store())
	})
}
