package raft_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/inboard/inboard/store/raft"
)

// fault harms a cluster and returns what makes it whole again.
type fault struct {
	name string
	do   func(c *cluster, rnd *rand.Rand) (heal func())
}

var faults = []fault{
	{"close the leader", func(c *cluster, rnd *rand.Rand) func() { return stopMember(c, c.leader(rnd.IntN(c.size()))) }},
	{"close a member", func(c *cluster, rnd *rand.Rand) func() { return stopMember(c, rnd.IntN(c.size())) }},
	{"crash the leader", func(c *cluster, rnd *rand.Rand) func() { return crashMember(c, c.leader(rnd.IntN(c.size()))) }},
	{"pause the leader", func(c *cluster, rnd *rand.Rand) func() { return pauseMember(c, c.leader(rnd.IntN(c.size()))) }},
	{"pause a member", func(c *cluster, rnd *rand.Rand) func() { return pauseMember(c, rnd.IntN(c.size())) }},
	{"split in two", splitInTwo},
	{"cut the leader off", func(c *cluster, rnd *rand.Rand) func() {
		i := c.leader(rnd.IntN(c.size()))
		return cutLinks(c, append(c.links([]int{i}, c.others(i)), c.links(c.others(i), []int{i})...))
	}},
	{"the leader is not heard", func(c *cluster, rnd *rand.Rand) func() {
		i := c.leader(rnd.IntN(c.size()))
		return cutLinks(c, c.links([]int{i}, c.others(i)))
	}},
	{"the leader does not hear", func(c *cluster, rnd *rand.Rand) func() {
		i := c.leader(rnd.IntN(c.size()))
		return cutLinks(c, c.links(c.others(i), []int{i}))
	}},
	{"cut some links one way", func(c *cluster, rnd *rand.Rand) func() {
		var some []link
		for _, l := range c.links(c.all(), c.all()) {
			if rnd.IntN(3) == 0 {
				some = append(some, l)
			}
		}
		return cutLinks(c, some)
	}},
	{"slow links", func(c *cluster, rnd *rand.Rand) func() {
		for _, l := range c.links(c.all(), c.all()) {
			c.net.set(false, time.Duration(rnd.IntN(60))*time.Millisecond, l)
		}
		return c.heal
	}},
	{"break connections", breakConnections},
	{"slow disks", func(c *cluster, rnd *rand.Rand) func() {
		for _, m := range c.members {
			m.disk.delay.Store(int64(rnd.IntN(80)) * int64(time.Millisecond))
		}
		return func() {
			for _, m := range c.members {
				m.disk.delay.Store(0)
			}
		}
	}},
	{"lose and double messages", func(c *cluster, _ *rand.Rand) func() {
		c.lossy.Store(true)
		return func() { c.lossy.Store(false) }
	}},
	{"replace a member", replaceMember},
	{"hand over", func(c *cluster, rnd *rand.Rand) func() {
		if n := c.members[c.leader(0)].get(); n != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = n.TransferLeadership(ctx, "") // it may have lost it meanwhile
		}
		return func() {}
	}},
}

func stopMember(c *cluster, i int) func() {
	c.shut(i)
	return func() { c.open(i, nil) }
}

// crashMember ends a member without a word: what it does while it is being closed reaches neither the
// network nor the disk in time for anybody to see.
func crashMember(c *cluster, i int) func() {
	whole := pauseMember(c, i)
	time.AfterFunc(100*time.Millisecond, c.members[i].disk.frozen.Unlock)
	_ = whole
	c.shut(i)
	return func() {
		c.heal()
		c.open(i, nil)
	}
}

// pauseMember lets nothing in and out of a member, and its disk stand still.
func pauseMember(c *cluster, i int) func() {
	c.members[i].disk.frozen.Lock()
	c.net.set(true, 0, append(c.links([]int{i}, c.others(i)), c.links(c.others(i), []int{i})...)...)
	return func() {
		c.members[i].disk.frozen.Unlock()
		c.heal()
	}
}

func cutLinks(c *cluster, links []link) func() {
	c.net.set(true, 0, links...)
	return c.heal
}

func splitInTwo(c *cluster, rnd *rand.Rand) func() {
	order := rnd.Perm(c.size())
	some, rest := order[:c.size()/2], order[c.size()/2:]
	return cutLinks(c, append(c.links(some, rest), c.links(rest, some)...))
}

// breakConnections loses what is under way between members, requests as well as answers, again and again.
func breakConnections(c *cluster, rnd *rand.Rand) func() {
	stop := make(chan struct{})
	var breaking sync.WaitGroup
	rnd = rand.New(rand.NewPCG(rnd.Uint64(), 0))
	breaking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.IntN(60)) * time.Millisecond):
				a := rnd.IntN(c.size())
				b := (a + 1 + rnd.IntN(c.size()-1)) % c.size()
				c.net.reset(rnd, c.members[a].id, c.members[b].id)
			}
		}
	})
	return func() { close(stop); breaking.Wait() }
}

// replaceMember takes a member out of the cluster and puts an empty one in its place.
func replaceMember(c *cluster, rnd *rand.Rand) func() {
	return replace(c, rnd.IntN(c.size()))
}

func replaceLearner(c *cluster, rnd *rand.Rand) func() { return replace(c, aLearner(c, rnd)) }

// aLearner is one of those that began as learners.
func aLearner(c *cluster, rnd *rand.Rand) int {
	i := rnd.IntN(c.size())
	for !c.members[i].learner {
		i = (i + 1) % c.size()
	}
	return i
}

func replace(c *cluster, i int) func() {
	m := c.members[i]
	if !c.change(i, func(ctx context.Context, n *raft.Node) error { return n.RemoveMember(ctx, m.id) }) {
		return func() {}
	}
	c.shut(i)
	return func() {
		m.dir += "'"
		c.open(i, nil)
		joins := func(ctx context.Context, n *raft.Node) error {
			return n.AddMember(ctx, raft.Member{ID: m.id, Address: m.id, Learner: m.learner})
		}
		if !c.change(i, joins) {
			c.t.Errorf("%s cannot be added again", m.id)
		}
	}
}

// promoteLearner gives a learner a vote. When it is replaced later, a learner comes in its place.
func promoteLearner(c *cluster, rnd *rand.Rand) func() {
	i := aLearner(c, rnd)
	c.change(i, func(ctx context.Context, n *raft.Node) error { return n.PromoteMember(ctx, c.members[i].id) })
	return func() {}
}

// change has a member other than i change the list of members; it tries for a while.
func (c *cluster) change(i int, do func(context.Context, *raft.Node) error) bool {
	for try := range 60 {
		if n := c.members[c.others(i)[try%(c.size()-1)]].get(); n != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			err := do(ctx, n)
			cancel()
			if err == nil {
				return true
			}
			if try == 59 {
				c.t.Logf("a change of members: %v", err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// harm does one fault after the other until stop, and leaves the cluster whole. It returns how often it did
// each.
func (c *cluster) harm(rnd *rand.Rand, stop <-chan struct{}, choose []fault) map[string]int {
	did := map[string]int{}
	for {
		f := choose[rnd.IntN(len(choose))]
		heal := f.do(c, rnd)
		did[f.name]++
		ended := wait(stop, time.Duration(100+rnd.IntN(1200))*time.Millisecond)
		heal()
		if ended || wait(stop, time.Duration(rnd.IntN(600))*time.Millisecond) {
			return did
		}
	}
}

func wait(stop <-chan struct{}, d time.Duration) (stopped bool) {
	select {
	case <-stop:
		return true
	case <-time.After(d):
		return false
	}
}
