package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

func (c *cluster) addGroup(name string, minCount int32) {
	c.t.Helper()
	g := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	g.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: minCount}
	_, err := client.For[*schedulingv1beta1.PodGroup](c.c).Create(context.Background(), g)
	check(c.t, err)
}

func worker(group, name, cpu string) *corev1.Pod {
	p := newPod(name, cpu)
	p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &group}
	return p
}

func (c *cluster) addWorkers(group string, from, to int, cpu string) {
	for i := from; i < to; i++ {
		c.addPod(worker(group, fmt.Sprintf("%s-%d", group, i), cpu))
	}
}

// settled lets all happen that can happen by itself, and returns how many pods of each group have a node.
func (c *cluster) settled(d time.Duration) (bound, all map[string]int) {
	c.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "default", metav1.ListOptions{})
	check(c.t, err)
	bound, all = map[string]int{}, map[string]int{}
	for _, p := range pods.Items {
		group := ""
		if p.Spec.SchedulingGroup != nil {
			group = *p.Spec.SchedulingGroup.PodGroupName
		}
		all[group]++
		if p.Spec.NodeName != "" {
			bound[group]++
		}
	}
	return bound, all
}

func (c *cluster) groupCondition(name string) string {
	c.t.Helper()
	g, err := client.For[*schedulingv1beta1.PodGroup](c.c).Get(context.Background(), "default", name)
	check(c.t, err)
	cond := meta.FindStatusCondition(g.Status.Conditions, schedulingv1beta1.PodGroupInitiallyScheduled)
	if cond == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", cond.Status, cond.Reason, cond.Message))
}

func (c *cluster) message(name string) string {
	c.t.Helper()
	p, err := client.For[*corev1.Pod](c.c).Get(context.Background(), "default", name)
	check(c.t, err)
	return condition(p).Message
}

// TestGang: pods wait for their group, and the group for room for all of it; nobody else waits for the group.
func TestGang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "4")
		c.start(scheduler.Config{Client: c.api.As("system:kube-scheduler")})
		// The group may come after its pods, and so may some of the pods.
		c.addWorkers("train", 0, 3, "2")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods of a group that does not exist have a node", bound["train"])
		}
		c.addGroup("train", 4)
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 || c.groupCondition("train") != "" {
			t.Fatalf("%d pods of a group of three of four have a node; %s", bound["train"], c.groupCondition("train"))
		}
		c.addWorkers("train", 3, 4, "2")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods of a group that does not fit have a node", bound["train"])
		}
		const few = "minCount (4) cannot be satisfied: 2 scheduled, 1 remaining, pod group preemption: No preemption victims found for incoming preemptor"
		if got := c.groupCondition("train"); got != "False Unschedulable "+few {
			t.Errorf("the group's condition is %q", got)
		}
		messages := map[string]int{}
		for _, name := range podNames("train", 4) {
			messages[c.message(name)]++
		}
		if messages[few] != 3 || messages["0/1 nodes are available: 1 Insufficient cpu."] != 1 {
			t.Errorf("the pods are told %v", messages)
		}
		// The room is there for others meanwhile.
		c.addPod(newPod("alone", "2"))
		if bound, _ := c.settled(time.Minute); bound[""] != 1 {
			t.Error("the group keeps room from others")
		}
		c.addNode("node-b", "4")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Errorf("%d pods have a node, of three that fit", bound["train"])
		}
		c.addNode("node-c", "2")
		if bound, _ := c.settled(time.Minute); bound["train"] != 4 || c.groupCondition("train") != "True Scheduled" {
			t.Errorf("%d pods have a node; %s", bound["train"], c.groupCondition("train"))
		}
		// More pods than needed go their own way, and do not change what the group has reached.
		c.addWorkers("train", 4, 6, "500m")
		if bound, _ := c.settled(time.Minute); bound["train"] != 4 {
			t.Errorf("%d pods have a node", bound["train"])
		}
		c.addNode("node-d", "500m")
		if bound, _ := c.settled(time.Minute); bound["train"] != 5 || c.groupCondition("train") != "True Scheduled" {
			t.Errorf("%d pods have a node; %s", bound["train"], c.groupCondition("train"))
		}
	})
}

// TestGangNeedsFewer: a lower minCount is enough to go on.
func TestGangNeedsFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "4")
		c.start(scheduler.Config{})
		c.addGroup("train", 3)
		c.addWorkers("train", 0, 2, "1")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		groups := client.For[*schedulingv1beta1.PodGroup](c.c)
		g, err := groups.Get(context.Background(), "default", "train")
		check(t, err)
		g.Spec.SchedulingPolicy.Gang.MinCount = 2
		_, err = groups.Update(context.Background(), g)
		check(t, err)
		if bound, _ := c.settled(time.Second); bound["train"] != 2 {
			t.Errorf("%d pods have a node", bound["train"])
		}
	})
}

// TestGangCountsWhoHasANode: pods that someone else has put on a node are part of the group.
func TestGangCountsWhoHasANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "3")
		c.start(scheduler.Config{})
		c.addGroup("train", 4)
		placed := func(name string) {
			p := worker("train", name, "1")
			p.Spec.NodeName = "node-a"
			c.addPod(p)
		}
		c.addWorkers("train", 0, 3, "1")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		// Now there are enough, but only two of the three that lack a node fit.
		placed("first")
		if bound, _ := c.settled(time.Minute); bound["train"] != 1 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		c.deletePod("first")
		c.settled(time.Second)
		c.addNode("node-b", "1")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		placed("second")
		if bound, _ := c.settled(time.Minute); bound["train"] != 4 {
			t.Errorf("%d pods have a node", bound["train"])
		}
	})
}

// TestGangMovesAside: a node that only helps a pod which would have fitted lets the group fit.
func TestGangMovesAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "2")
		c.start(scheduler.Config{})
		c.addGroup("train", 2)
		c.addPod(worker("train", "anywhere", "2"))
		time.Sleep(time.Second)
		picky := worker("train", "picky", "2")
		picky.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "node-a"}
		c.addPod(picky)
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		c.addNode("node-b", "2")
		if bound, _ := c.settled(time.Minute); bound["train"] != 2 {
			t.Errorf("%d pods have a node", bound["train"])
		}
	})
}

// TestGangEvictsNobody: a group that does not fit costs no other pod its place.
func TestGangEvictsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "4")
		c.start(scheduler.Config{})
		for _, name := range podNames("low", 2) {
			c.addPod(newPod(name, "1"))
		}
		c.addGroup("train", 3)
		c.addWorkers("train", 0, 3, "2")
		if bound, all := c.settled(10 * time.Minute); bound["train"] != 0 || bound[""] != 2 || all[""] != 2 {
			t.Errorf("bound are %v of %v", bound, all)
		}
	})
}

// TestGangRestart: a scheduler that ends in the middle of a group's binding leaves nothing undone to the next one.
func TestGangRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "10")
		c.addGroup("train", 5)
		var binds atomic.Int32
		f := &faulty{Interface: c.c, fail: func(client.Ref) error {
			if binds.Add(1) > 2 {
				return apierrors.NewInternalError(errors.New("out of order"))
			}
			return nil
		}}
		stop := c.start(scheduler.Config{Client: f})
		c.addWorkers("train", 0, 5, "2")
		if bound, _ := c.settled(5 * time.Second); bound["train"] != 2 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		stop()
		c.start(scheduler.Config{})
		if bound, _ := c.settled(time.Second); bound["train"] != 5 {
			t.Errorf("%d pods have a node after the restart", bound["train"])
		}
	})
}

// reserving counts what it sets aside, and refuses some pods.
type reserving struct{ reserved atomic.Int32 }

func (*reserving) Name() string { return "Reserving" }

func (r *reserving) Reserve(c *scheduler.Cycle, _ any, _ *scheduler.NodeInfo) (scheduler.Reservation, *scheduler.Status) {
	r.reserved.Add(1)
	if c.Pod.Pod.Name == "train-2" {
		return scheduler.Reservation{}, scheduler.NewStatus(scheduler.Unschedulable, "there is nothing left")
	}
	return scheduler.Reservation{}, nil
}

func (r *reserving) Unreserve(*scheduler.PodInfo, string, any) { r.reserved.Add(-1) }

// TestGangReservesAllOrNothing: what was set aside for a group that is not placed is taken back.
func TestGangReservesAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addNode("node-a", "10")
		r := &reserving{}
		profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append(scheduler.DefaultPlugins(), scheduler.WeightedPlugin{Plugin: r})})
		check(t, err)
		c.start(scheduler.Config{Profiles: map[string]*scheduler.Profile{scheduler.DefaultSchedulerName: profile}})
		c.addGroup("train", 4)
		c.addWorkers("train", 0, 4, "1")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 || r.reserved.Load() != 0 {
			t.Errorf("%d pods have a node, %d reservations are left", bound["train"], r.reserved.Load())
		}
		if m := c.message("train-2"); m != "0/1 nodes are available: 1 there is nothing left." {
			t.Errorf("the pod is told %q", m)
		}
		c.addWorkers("train", 4, 5, "1")
		if bound, _ := c.settled(time.Minute); bound["train"] != 4 || r.reserved.Load() != 4 {
			t.Errorf("%d pods have a node, there are %d reservations", bound["train"], r.reserved.Load())
		}
	})
}

// TestGangsCompete: whatever gangs come in whatever order, at rest none is half placed, and none waits that would fit:
// no two wait for each other. When those that have their nodes end, the others get theirs.
func TestGangsCompete(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { compete(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

// checkNoneWouldFit checks that the groups without a node would find no room.
func (c *cluster) checkNoneWouldFit(bound map[string]int) {
	c.t.Helper()
	nodes, err := client.For[*corev1.Node](c.c).List(context.Background(), "", metav1.ListOptions{})
	check(c.t, err)
	pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "default", metav1.ListOptions{})
	check(c.t, err)
	groups, err := client.For[*schedulingv1beta1.PodGroup](c.c).List(context.Background(), "default", metav1.ListOptions{})
	check(c.t, err)
	b := scheduler.NewSnapshot(nodes.Items, pods.Items).Edit()
	for _, g := range groups.Items {
		b.SetObject(g)
	}
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	check(c.t, err)
	waiting := map[string][]*corev1.Pod{}
	for _, p := range pods.Items {
		if group := *p.Spec.SchedulingGroup.PodGroupName; bound[group] == 0 {
			waiting[group] = append(waiting[group], p)
		}
	}
	for group, members := range waiting {
		out, _ := profile.ScheduleAll(b.Snapshot(), members, nil)
		if slices.ContainsFunc(out, func(o scheduler.Outcome) bool { return o.Err == nil }) {
			c.t.Errorf("gang %s waits, but would fit", group)
		}
	}
}

func compete(t *testing.T, random *rand.Rand) {
	c := newCluster(t)
	for i := range 4 {
		c.addNode(fmt.Sprintf("node-%d", i), "4")
	}
	c.start(scheduler.Config{Seed: 1 + random.Uint64()})
	type gang struct {
		name      string
		min, size int
		cpu       string
	}
	var gangs []gang
	var pods []*corev1.Pod
	for i := range 8 {
		g := gang{name: fmt.Sprintf("gang%d", i), min: 2 + random.IntN(6), cpu: fmt.Sprint(1 + random.IntN(2))}
		g.size = g.min + random.IntN(2)
		gangs = append(gangs, g)
		for j := range g.size {
			pods = append(pods, worker(g.name, fmt.Sprintf("%s-%d", g.name, j), g.cpu))
		}
	}
	random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	for i, g := range gangs {
		c.addGroup(g.name, int32(g.min))
		for _, p := range pods[i*len(pods)/len(gangs) : (i+1)*len(pods)/len(gangs)] {
			c.addPod(p)
		}
		time.Sleep(time.Duration(random.IntN(3)) * time.Second)
	}
	left := map[string]gang{}
	for _, g := range gangs {
		left[g.name] = g
	}
	for len(left) > 0 {
		bound, _ := c.settled(30 * time.Second)
		before := len(left)
		c.checkNoneWouldFit(bound)
		for name, g := range left {
			switch n := bound[name]; {
			case n > 0 && n < g.min:
				t.Errorf("gang %s of %d is half placed: %d", name, g.min, n)
			case n >= g.min:
				for j := range g.size {
					c.deletePod(fmt.Sprintf("%s-%d", name, j))
				}
				delete(left, name)
			}
		}
		if len(left) == before {
			t.Fatalf("nobody gets a node any more: %v", left)
		}
	}
}
