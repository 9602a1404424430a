package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// addGang makes a group of a priority class.
func (c *cluster) addGang(name, class string, minCount int32, mode *schedulingv1beta1.DisruptionMode) *schedulingv1beta1.PodGroup {
	c.t.Helper()
	g := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	g.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: minCount}
	g.Spec.PriorityClassName, g.Spec.DisruptionMode = class, mode
	g, err := client.For[*schedulingv1beta1.PodGroup](c.c).Create(context.Background(), g)
	check(c.t, err)
	return g
}

func (c *cluster) addClassWorkers(group, class string, n int, cpu string) {
	for i := range n {
		p := worker(group, fmt.Sprintf("%s-%d", group, i), cpu)
		p.Spec.PriorityClassName = class
		c.addPod(p)
	}
}

// end deletes what is terminating, as kubelets do at last, and returns the names.
func (c *cluster) end() map[string]bool {
	c.t.Helper()
	pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "default", metav1.ListOptions{})
	check(c.t, err)
	gone := map[string]bool{}
	for _, p := range pods.Items {
		if p.DeletionTimestamp != nil {
			gone[p.Name] = true
			c.deletePod(p.Name)
		}
	}
	return gone
}

// TestGangPreempts: a gang makes room for all of it at once, takes no more than it needs, keeps the room from others
// until the victims are gone, and evicts nobody twice.
func TestGangPreempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addClasses()
		for i := range 3 {
			c.addNode(fmt.Sprintf("node-%d", i), "4")
		}
		c.start(scheduler.Config{})
		for _, name := range podNames("low", 5) {
			c.addPod(classPod(name, "low", "2"))
		}
		c.settled(time.Second)
		group := c.addGang("train", "high", 4, nil)
		c.addClassWorkers("train", "high", 4, "2")
		if bound, _ := c.settled(time.Minute); bound["train"] != 0 {
			t.Fatalf("%d pods have a node", bound["train"])
		}
		// The end of a victim's life begins with changes that let the group be tried once more.
		got := c.groupCondition("train")
		_, made, _ := strings.Cut(got, ", pod group preemption: ")
		if !strings.HasPrefix(got, "False Unschedulable minCount (4) cannot be satisfied: ") ||
			made != "found a placement for podgroup, preempting 3 victims" && made != "ongoing preemption on nominated nodes" {
			t.Errorf("the group's condition is %q", got)
		}
		for _, name := range podNames("train", 4) {
			if c.get(name).Status.NominatedNodeName == "" {
				t.Errorf("%s has no nominated node", name)
			}
		}
		// Neither the free room nor what the victims leave is for lower priorities.
		c.addPod(classPod("other", "low", "2"))
		if bound, _ := c.settled(time.Minute); bound[""] != 5 {
			t.Errorf("%d other pods have a node", bound[""])
		}
		gone := c.end()
		if len(gone) != 3 {
			t.Errorf("evicted are %v", gone)
		}
		for name := range gone {
			if e := c.waitEvent(name, "Preempted"); !strings.HasPrefix(e.Message, "Preempted by podgroup "+string(group.UID)+" on node node-") {
				t.Errorf("event is %q", e.Message)
			}
			break
		}
		if bound, all := c.settled(time.Minute); bound["train"] != 4 || bound[""] != 2 || all[""] != 3 || c.groupCondition("train") != "True Scheduled" {
			t.Errorf("bound are %v of %v; %s", bound, all, c.groupCondition("train"))
		}
		if more := c.end(); len(more) != 0 {
			t.Errorf("%v were evicted, too", more)
		}
	})
}

// TestGangPreemptsAllOrNothing: where evictions would not let enough of a gang fit, nobody is evicted; nor if the
// gang's pods don't want it.
func TestGangPreemptsAllOrNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		pods  int
		never bool
		say   string
	}{
		"too large": {pods: 3, say: "minCount (3) cannot be satisfied: 0 scheduled, 2 remaining, " +
			"pod group preemption: minCount (3) cannot be satisfied: 2 scheduled, 0 remaining"},
		"never": {pods: 2, never: true, say: "minCount (2) cannot be satisfied: 0 scheduled, 1 remaining, " +
			"pod group preemption: not eligible due to preemptionPolicy=Never."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.addClasses()
				never := corev1.PreemptNever
				_, err := client.For[*schedulingv1.PriorityClass](c.c).Create(context.Background(),
					&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "patient"}, Value: 1000, PreemptionPolicy: &never})
				check(t, err)
				c.addNode("node-a", "4")
				c.start(scheduler.Config{})
				for _, name := range podNames("low", 2) {
					c.addPod(classPod(name, "low", "2"))
				}
				c.settled(time.Second)
				c.addGang("train", "high", int32(tt.pods), nil)
				for _, name := range podNames("train", tt.pods) {
					p := worker("train", name, "2")
					p.Spec.PriorityClassName = "high"
					if tt.never {
						p.Spec.PriorityClassName = "patient"
					}
					c.addPod(p)
				}
				bound, _ := c.settled(10 * time.Minute)
				if gone := c.end(); bound["train"] != 0 || bound[""] != 2 || len(gone) != 0 {
					t.Errorf("bound are %v, evicted %v", bound, gone)
				}
				if got := c.groupCondition("train"); got != "False Unschedulable "+tt.say {
					t.Errorf("the group's condition is\n%q, not\n%q", got, "False Unschedulable "+tt.say)
				}
			})
		})
	}
}

// TestGangEndsTogether: a pod of a gang that can't do with fewer pods is evicted with all others, wherever they are;
// one of another gang is evicted alone.
func TestGangEndsTogether(t *testing.T) {
	for name, tt := range map[string]struct {
		mode *schedulingv1beta1.DisruptionMode
		want int
	}{
		"all":    {&schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}}, 3},
		"single": {&schedulingv1beta1.DisruptionMode{Single: &schedulingv1beta1.SingleDisruptionMode{}}, 1},
		"none":   {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.addClasses()
				for i := range 3 {
					c.addNode(fmt.Sprintf("node-%d", i), "2")
				}
				c.start(scheduler.Config{})
				c.addGang("batch", "low", 3, tt.mode)
				c.addClassWorkers("batch", "low", 3, "2")
				if bound, _ := c.settled(time.Second); bound["batch"] != 3 {
					t.Fatalf("%d pods have a node", bound["batch"])
				}
				c.addPod(classPod("web", "high", "2"))
				c.settled(time.Second)
				if gone := c.end(); len(gone) != tt.want {
					t.Errorf("evicted are %v", gone)
				}
				if bound, _ := c.settled(time.Second); bound[""] != 1 || bound["batch"] != 3-tt.want {
					t.Errorf("bound are %v", bound)
				}
			})
		})
	}
}

// TestGangPreemptionSurvives: a scheduler that begins while victims of a gang are still there waits for their end,
// and evicts nobody else.
func TestGangPreemptionSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.addClasses()
		for i := range 4 {
			c.addNode(fmt.Sprintf("node-%d", i), "2")
		}
		stop := c.start(scheduler.Config{})
		for _, name := range podNames("low", 4) {
			c.addPod(classPod(name, "low", "2"))
		}
		c.settled(time.Second)
		c.addGang("train", "high", 2, nil)
		c.addClassWorkers("train", "high", 2, "2")
		c.settled(time.Second)
		stop()
		c.start(scheduler.Config{Seed: 77})
		c.settled(10 * time.Minute)
		if gone := c.end(); len(gone) != 2 {
			t.Errorf("evicted are %v", gone)
		}
		if bound, _ := c.settled(time.Minute); !maps.Equal(bound, map[string]int{"train": 2, "": 2}) {
			t.Errorf("bound are %v", bound)
		}
	})
}
