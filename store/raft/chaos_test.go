package raft_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
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
				chaos(t, size, seed+uint64(run), faults)
			})
		}
	}
}

func chaos(t *testing.T, size int, seed uint64, choose []fault) {
	c := newCluster(t, size)
	w := startWorkload(t, c, seed, 6, 3)
	stop := make(chan struct{})
	var nemesis sync.WaitGroup
	var did map[string]int
	nemesis.Go(func() { did = c.harm(rand.New(rand.NewPCG(seed, 0)), stop, choose) })
	for deadline := time.Now().Add(2 * time.Minute); w.calls.Load() < *chaosCalls && time.Now().Before(deadline); {
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
