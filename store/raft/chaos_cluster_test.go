package raft_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/raft"
	"github.com/inboard/inboard/store/storetest"
)

// electionTimeout is short, so that a run sees many leaders, but not so short that a loaded machine has none.
const electionTimeout = 250 * time.Millisecond

// cluster is a cluster in this process, over a network and on disks that can fail.
type cluster struct {
	t       testing.TB
	net     *faultyNet
	lossy   atomic.Bool // raft's messages get lost, and come twice
	members []*clusterMember
}

type clusterMember struct {
	id, dir string
	learner bool
	disk    *slowDisk
	mu      sync.Mutex
	node    *raft.Node // nil while it is down
}

// newCluster opens a cluster of voters, each with a small log and few kept entries, so that members that
// were away need snapshots, and learners.
func newCluster(t testing.TB, voters, learners int) *cluster {
	c := &cluster{t: t, net: newFaultyNet()}
	for i := range voters + learners {
		id := fmt.Sprintf("n%d", i)
		c.members = append(c.members, &clusterMember{
			id: id, dir: filepath.Join(t.TempDir(), id), learner: i >= voters, disk: newSlowDisk(),
		})
	}
	var opening sync.WaitGroup
	for i := range c.members {
		opening.Go(func() { c.open(i, c.first()) })
	}
	opening.Wait()
	t.Cleanup(c.close)
	return c
}

// first are the members that the cluster begins with.
func (c *cluster) first() []raft.Member {
	var list []raft.Member
	for _, m := range c.members {
		list = append(list, raft.Member{ID: m.id, Address: m.id, Learner: m.learner})
	}
	return list
}

// open opens a member. A member that joins a running cluster has no list of the first ones.
func (c *cluster) open(i int, first []raft.Member) {
	m := c.members[i]
	cfg := raft.Config{
		Dir: m.dir, ID: m.id, Address: m.id, Members: first, Network: c.net.member(m.id),
		ElectionTimeout: electionTimeout, SnapshotEntries: 150, SegmentBytes: 64 << 10, Logger: chaosLogger(m.id),
	}
	cfg.SetFiles(m.disk)
	if i%2 == 0 { // the others keep raft's pipelines
		cfg.SetTransport(func(t raft.Transport) raft.Transport { return messages{t, &c.lossy} })
	}
	n, err := raft.Open(cfg)
	if err != nil {
		c.t.Errorf("open %s: %v", m.id, err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node = n
}

func chaosLogger(id string) *slog.Logger {
	if os.Getenv("CHAOS_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
}

func (m *clusterMember) get() *raft.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// shut closes a member, if it is open.
func (c *cluster) shut(i int) {
	m := c.members[i]
	m.mu.Lock()
	n := m.node
	m.node = nil
	m.mu.Unlock()
	if n == nil {
		return
	}
	if err := n.Close(); err != nil {
		c.t.Errorf("close %s: %v", m.id, err)
	}
}

func (c *cluster) close() {
	c.heal()
	var closing sync.WaitGroup
	for i := range c.members {
		closing.Go(func() { c.shut(i) })
	}
	closing.Wait()
}

func (c *cluster) size() int { return len(c.members) }

func (c *cluster) member(i int) storetest.Store {
	if n := c.members[i].get(); n != nil {
		return storetest.Local(n.Store())
	}
	return nil
}

// leader is a member that says it leads, or any if none does.
func (c *cluster) leader(otherwise int) int {
	i := slices.IndexFunc(c.members, func(m *clusterMember) bool {
		n := m.get()
		return n != nil && n.Status().Leading
	})
	if i < 0 {
		return otherwise
	}
	return i
}

// links are the links from some members to others.
func (c *cluster) links(from, to []int) []link {
	var list []link
	for _, f := range from {
		for _, t := range to {
			if f != t {
				list = append(list, link{c.members[f].id, c.members[t].id})
			}
		}
	}
	return list
}

func (c *cluster) all() []int {
	var list []int
	for i := range c.members {
		list = append(list, i)
	}
	return list
}

func (c *cluster) others(i int) []int {
	return slices.DeleteFunc(c.all(), func(j int) bool { return j == i })
}

func (c *cluster) heal() { c.net.set(false, 0, c.links(c.all(), c.all())...) }

// checkEqual compares the members' whole states, which must be the same once all have everything.
func (c *cluster) checkEqual() {
	c.t.Helper()
	var want []string
	for i, m := range c.members {
		s := m.get().Store()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := s.Sync(ctx)
		cancel()
		if err != nil {
			c.t.Errorf("%s does not catch up: %v", m.id, err)
			continue
		}
		r, err := s.Range(context.Background(), store.Range{End: store.PrefixEnd("")})
		if err != nil {
			c.t.Error(err)
			continue
		}
		got := []string{fmt.Sprint("revision ", r.Revision)}
		for _, e := range r.Entries {
			got = append(got, fmt.Sprint(e.Key, string(e.Value), e.CreateRevision, e.ModRevision, e.Version, e.Lease))
		}
		if i == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			c.t.Errorf("%s has\n%q\nand %s\n%q", m.id, got, c.members[0].id, want)
		}
	}
}
