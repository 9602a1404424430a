package raft_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	chaosRuns  = flag.Int("chaos-runs", 1, "how often each chaos test runs, with seeds that follow each other")
	chaosSeed  = flag.Uint64("chaos-seed", 0, "the seed of the first run; 0 chooses one")
	chaosCalls = flag.Int64("chaos-calls", 1500, "calls of a run")
)

// TestChaos lets clients and watchers use a cluster that is being harmed. Porcupine has to find an order that
// explains all that clients were told; every watcher has to see every change, once, in order; the members
// have to be the same in the end.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64() % 1_000_000
	}
	for run := range *chaosRuns {
		for _, size := range []int{3, 5} {
			t.Run(fmt.Sprintf("%d members, seed %d", size, seed+uint64(run)), func(t *testing.T) {
				chaos(t, newCluster(t, size, 0), seed+uint64(run), *chaosCalls, faults)
			})
		}
	}
}

// TestChaosLearners has members that get everything and do not vote, which clients use like the others, and which
// are promoted and replaced meanwhile.
func TestChaosLearners(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64() % 1_000_000
	}
	choose := append(slices.Clone(faults), fault{"promote a learner", promoteLearner}, fault{"replace a learner", replaceLearner})
	for run := range *chaosRuns {
		t.Run(fmt.Sprintf("seed %d", seed+uint64(run)), func(t *testing.T) {
			chaos(t, newCluster(t, 3, 2), seed+uint64(run), *chaosCalls, choose)
		})
	}
}

func chaos(t *testing.T, c *cluster, seed uint64, calls int64, choose []fault) {
	w := startWorkload(t, c, seed, 6, 3)
	stop := make(chan struct{})
	var nemesis sync.WaitGroup
	var did map[string]int
	nemesis.Go(func() { did = c.harm(rand.New(rand.NewPCG(seed, 0)), stop, choose) })
	for deadline := time.Now().Add(2 * time.Minute); w.calls.Load() < calls && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	nemesis.Wait()
	w.finish()
	t.Logf("%s; %v", w.verify(), did)
	c.checkEqual()
	if t.Failed() {
		t.Logf("again with -chaos-seed %d", seed)
	}
}
