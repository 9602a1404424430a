package raft_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/inboard/inboard/store"
)

// leased is a lease under chaos, with a key of its own.
type leased struct {
	id  store.LeaseID
	key string
	// until is when it expires at the earliest: its time after the call that renewed it last, and was
	// answered, began.
	until time.Time
}

const chaosTTL = 4 * time.Second

// TestChaosLeases harms a cluster that has leases. None may expire before its time, however often the leader
// changes; those that nobody keeps alive go, on every member.
func TestChaosLeases(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64() % 1_000_000
	}
	for run := range *chaosRuns {
		t.Run(fmt.Sprintf("seed %d", seed+uint64(run)), func(t *testing.T) { chaosLeases(t, seed+uint64(run)) })
	}
}

func chaosLeases(t *testing.T, seed uint64) {
	c := newCluster(t, 3, 0)
	(&workload{t: t, target: c}).settle()
	rnd := rand.New(rand.NewPCG(seed, 1))
	stop := make(chan struct{})
	var nemesis sync.WaitGroup
	nemesis.Go(func() { c.harm(rand.New(rand.NewPCG(seed, 0)), stop, faults) })
	kept := c.grant(rnd, 1)
	var left []*leased
	renewed, failed := 0, 0
	for id, end := store.LeaseID(2), time.Now().Add(10*time.Second); time.Now().Before(end); id++ {
		if rnd.IntN(4) == 0 {
			left = append(left, c.grant(rnd, id))
		}
		if c.renew(rnd, kept) {
			renewed++
		} else {
			failed++
		}
		for _, l := range append(left, kept) {
			c.checkLease(rnd, l)
		}
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	nemesis.Wait()
	gone := 0
	for i := range c.size() {
		for _, l := range left {
			c.awaitGone(i, l)
			gone++
		}
	}
	c.checkEqual()
	t.Logf("seed %d: kept alive %d times, %d tries failed; %d leases expired on %d members", seed, renewed, failed, gone/c.size(), c.size())
}

// try calls a random member until it says yes.
func (c *cluster) try(rnd *rand.Rand, do func(context.Context, *store.Store) error) time.Time {
	c.t.Helper()
	for {
		began := time.Now()
		if err := c.once(rnd, do); err == nil {
			return began
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *cluster) once(rnd *rand.Rand, do func(context.Context, *store.Store) error) error {
	n := c.members[rnd.IntN(c.size())].get()
	if n == nil {
		return errDown
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return do(ctx, n.Store())
}

// grant grants a lease and puts its key. The lease may have been granted by a call that was not answered, and
// then has run for longer.
func (c *cluster) grant(rnd *rand.Rand, id store.LeaseID) *leased {
	l := &leased{id: id, key: fmt.Sprintf("leased/%d", id)}
	began := time.Now()
	c.try(rnd, func(ctx context.Context, s *store.Store) error {
		_, err := s.Grant(ctx, id, chaosTTL)
		if errors.Is(err, store.ErrLeaseExists) {
			err = nil
		}
		return err
	})
	c.try(rnd, func(ctx context.Context, s *store.Store) error {
		_, err := s.Txn(ctx, store.Txn{Then: []store.Op{{Type: store.TypePut, Key: l.key, Lease: id}}})
		if errors.Is(err, store.ErrLeaseNotFound) && time.Since(began) > chaosTTL {
			err = nil // that took so long that it has expired
		}
		return err
	})
	l.until = began.Add(chaosTTL)
	return l
}

func (c *cluster) renew(rnd *rand.Rand, l *leased) bool {
	began := time.Now()
	err := c.once(rnd, func(ctx context.Context, s *store.Store) error {
		_, err := s.KeepAlive(ctx, l.id)
		return err
	})
	if errors.Is(err, store.ErrLeaseNotFound) && time.Now().Before(l.until) {
		c.t.Errorf("lease %d is not found %s before its time", l.id, time.Until(l.until))
	}
	if errors.Is(err, store.ErrLeaseNotFound) {
		*l = *c.grant(rnd, l.id) // nobody could be reached for too long: begin anew
	}
	if err != nil {
		return false
	}
	l.until = began.Add(chaosTTL)
	return true
}

// checkLease sees to it that a lease that has time left has its key.
func (c *cluster) checkLease(rnd *rand.Rand, l *leased) {
	if !time.Now().Before(l.until) {
		return
	}
	var r store.RangeResult
	err := c.once(rnd, func(ctx context.Context, s *store.Store) (err error) {
		r, err = s.Range(ctx, store.Range{Key: l.key, Linearizable: true})
		return err
	})
	if left := time.Until(l.until); err == nil && len(r.Entries) == 0 && left > 0 {
		c.t.Errorf("%s is gone %s before its time", l.key, left)
		l.until = time.Time{}
	}
}

// awaitGone waits until a member has let go of a lease and its key.
func (c *cluster) awaitGone(i int, l *leased) {
	s := c.members[i].get().Store()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var r store.RangeResult
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if r, err = s.Range(ctx, store.Range{Key: l.key}); err == nil && len(r.Entries) == 0 {
			_, err = s.Lease(ctx, l.id)
		}
		cancel()
		if errors.Is(err, store.ErrLeaseNotFound) {
			return
		}
	}
	c.t.Errorf("%s does not let go of %s: %v", c.members[i].id, l.key, err)
}
