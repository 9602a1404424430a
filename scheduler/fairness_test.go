package scheduler_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inboard/inboard/scheduler"
)

// byName sorts pods by their names, and notes in which order they are placed.
type byName struct {
	mu     sync.Mutex
	placed []string
}

func (*byName) Name() string { return "ByName" }

func (*byName) Less(a, b *scheduler.QueuedPod) bool { return a.Pod.Pod.Name < b.Pod.Pod.Name }

func (p *byName) Reserve(c *scheduler.Cycle, _ any, _ *scheduler.NodeInfo) (scheduler.Reservation, *scheduler.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed = append(p.placed, c.Pod.Pod.Name)
	return scheduler.Reservation{}, nil
}

func (*byName) Unreserve(*scheduler.PodInfo, string, any) {}

// TestQueueSort: a plugin of one's own decides in which order the pods of all profiles are placed; pods that ask for
// a scheduler of another name are left alone.
func TestQueueSort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		sort := &byName{}
		plugins := slices.DeleteFunc(scheduler.DefaultPlugins(), func(w scheduler.WeightedPlugin) bool { return w.Name() == scheduler.NamePrioritySort })
		profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append(plugins, scheduler.WeightedPlugin{Plugin: sort})})
		check(t, err)
		for i, name := range []string{"c", "a", "d", "b"} {
			p := newPod(name, "1")
			p.Spec.SchedulerName = []string{"one", "two"}[i%2]
			c.addPod(p)
		}
		other := newPod("other", "1")
		other.Spec.SchedulerName = "else"
		c.addPod(other)
		c.addNode("node-a", "10")
		c.start(scheduler.Config{Profiles: map[string]*scheduler.Profile{"one": profile, "two": profile}})
		if bound, _ := c.settled(time.Minute); bound[""] != 4 || c.get("other").Spec.NodeName != "" || condition(c.get("other")).Type != "" {
			t.Errorf("bound are %v; the other one is %+v", bound, c.get("other").Status)
		}
		if !slices.Equal(sort.placed, []string{"a", "b", "c", "d"}) {
			t.Errorf("placed in the order %v", sort.placed)
		}
	})
}

// TestNobodyStarves: of pods that come faster than room is left for them each gets its turn once no more come, without
// waiting for the time at which all are tried again whatever happened.
func TestNobodyStarves(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 0))
				c := newCluster(t)
				c.addNode("node-a", "4")
				c.addNode("node-b", "4")
				c.start(scheduler.Config{Seed: seed + 1})
				came := map[string]bool{}
				n := 0
				for round := 0; round < 100 || len(came) > 0 && round < 250; round++ {
					for range r.IntN(7) {
						if round < 100 {
							name := fmt.Sprintf("pod-%d", n)
							c.addPod(newPod(name, fmt.Sprint(1+r.IntN(2))))
							came[name] = true
							n++
						}
					}
					time.Sleep(3 * time.Second / 2)
					synctest.Wait()
					for _, name := range slices.Sorted(maps.Keys(came)) {
						// Who has a node ends, sooner or later, and leaves the room to the others.
						if c.get(name).Spec.NodeName != "" && r.IntN(2) == 0 {
							c.deletePod(name)
							delete(came, name)
						}
					}
				}
				if len(came) > 0 {
					t.Errorf("%d of %d pods never got a node: %v", len(came), n, came)
				}
			})
		})
	}
}
