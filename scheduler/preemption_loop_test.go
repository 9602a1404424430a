package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// addClasses makes the priority classes low, middle and high.
func (c *cluster) addClasses() {
	c.t.Helper()
	for name, value := range map[string]int32{"low": 10, "middle": 100, "high": 1000} {
		_, err := client.For[*schedulingv1.PriorityClass](c.c).Create(context.Background(),
			&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value})
		check(c.t, err)
	}
}

func classPod(name, class, cpu string) *corev1.Pod {
	p := newPod(name, cpu)
	p.Spec.PriorityClassName = class
	return p
}

func (c *cluster) get(name string) *corev1.Pod {
	c.t.Helper()
	p, err := client.For[*corev1.Pod](c.c).Get(context.Background(), "default", name)
	check(c.t, err)
	return p
}

// nominated waits until the API server has a pod's nominated node.
func (c *cluster) nominated(name, node string) {
	c.t.Helper()
	c.wait(name, "the nominated node "+node, func(p *corev1.Pod) bool { return p.Status.NominatedNodeName == node })
}

func terminating(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }

func TestPreemptionEvictsAndWaitsForTheEnd(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	c.start(scheduler.Config{})
	c.addPod(classPod("batch", "low", "1500m"))
	c.waitBound("batch")
	high := c.addPod(classPod("web", "high", "1"))

	victim := c.wait("batch", "an end", terminating)
	var why corev1.PodCondition
	for _, cond := range victim.Status.Conditions {
		if cond.Type == corev1.DisruptionTarget {
			why = cond
		}
	}
	if why.Status != corev1.ConditionTrue || why.Reason != "PreemptionByScheduler" ||
		why.Message != "default-scheduler: preempting to accommodate a higher priority pod" {
		t.Errorf("the victim's condition is %+v", why)
	}
	if e := c.waitEvent("batch", "Preempted"); e.Message != fmt.Sprintf("Preempted by pod %s on node node-a", high.UID) {
		t.Errorf("event is %q", e.Message)
	}
	c.nominated("web", "node-a")
	const want = "0/1 nodes are available: 1 Insufficient cpu. preemption: found a potential placement for pod on node node-a, preempting 1 victims"
	c.waitMessage("web", "Unschedulable", want)
	// Nothing of lower priority takes the room, or gets the room that the victim leaves.
	c.addPod(classPod("other", "middle", "1500m"))
	c.waitRefused("other", "Unschedulable")
	c.deletePod("batch") // as the kubelet does at last
	c.waitBound("web")
	if p := c.get("web"); p.Status.NominatedNodeName != "" {
		t.Errorf("nominated node is still %q", p.Status.NominatedNodeName)
	}
	if p := c.get("other"); p.Spec.NodeName != "" {
		t.Error("the pod of lower priority got a node, too")
	}
}

// TestPreemptionWaits: a pod whose victims take their time evicts no more.
func TestPreemptionWaits(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	c.addNode("node-b", "2")
	c.start(scheduler.Config{InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	for _, name := range podNames("batch", 2) {
		c.addPod(classPod(name, "low", "1500m"))
		c.waitBound(name)
	}
	c.addPod(classPod("web", "high", "1"))
	c.wait("web", "a nominated node", func(p *corev1.Pod) bool { return p.Status.NominatedNodeName != "" })
	// An event that might help makes it look again.
	cordoned := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-c"}, Spec: corev1.NodeSpec{Unschedulable: true}}
	cordoned.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourcePods: resource.MustParse("9")}
	_, err := client.For[*corev1.Node](c.c).Create(context.Background(), cordoned)
	check(t, err)
	c.wait("web", "patience", func(p *corev1.Pod) bool {
		return strings.HasSuffix(condition(p).Message, "preemption: not eligible due to a terminating pod on the nominated node.")
	})
	ending := 0
	for _, name := range podNames("batch", 2) {
		if terminating(c.get(name)) {
			ending++
		}
	}
	if ending != 1 {
		t.Errorf("%d pods were evicted", ending)
	}
}

func TestAHigherPriorityTakesOverANomination(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	c.start(scheduler.Config{})
	c.addPod(classPod("batch", "low", "2"))
	c.waitBound("batch")
	c.addPod(classPod("middle", "middle", "2"))
	c.nominated("middle", "node-a")
	c.addPod(classPod("high", "high", "2"))
	c.nominated("high", "node-a")
	c.nominated("middle", "")
	c.deletePod("batch")
	c.waitBound("high")
	if p := c.get("middle"); p.Spec.NodeName != "" {
		t.Error("both were bound")
	}
}

// TestANominationSurvivesARestart: the next scheduler respects what the API server tells.
func TestANominationSurvivesARestart(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	stop := c.start(scheduler.Config{})
	c.addPod(classPod("batch", "low", "2"))
	c.waitBound("batch")
	c.addPod(classPod("web", "high", "2"))
	c.nominated("web", "node-a")
	c.wait("batch", "an end", terminating)
	stop()
	c.deletePod("batch")
	c.addPod(classPod("thief", "middle", "1"))
	c.start(scheduler.Config{})
	c.waitBound("web")
	c.waitRefused("thief", "Unschedulable")
}

func TestAPodThatIsDeletedLeavesItsNomination(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	c.start(scheduler.Config{})
	c.addPod(classPod("batch", "low", "2"))
	c.waitBound("batch")
	c.addPod(classPod("web", "high", "2"))
	c.nominated("web", "node-a")
	c.wait("batch", "an end", terminating)
	c.addPod(classPod("next", "low", "2"))
	c.waitRefused("next", "Unschedulable")
	c.deletePod("batch")
	c.waitBound("web")
	c.deletePod("web")
	c.waitBound("next")
}

// evictions makes a part of all evictions fail.
type evictions struct {
	client.Interface
	failures atomic.Int32
}

func (e *evictions) Delete(ctx context.Context, ref client.Ref, o metav1.DeleteOptions) error {
	if e.failures.Add(-1) >= 0 {
		return apierrors.NewInternalError(errors.New("the disk is full"))
	}
	return e.Interface.Delete(ctx, ref, o)
}

func TestAFailedEvictionIsTriedAgain(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	e := &evictions{Interface: c.c}
	e.failures.Store(2)
	c.start(scheduler.Config{Client: e, InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	c.addPod(classPod("batch", "low", "2"))
	c.waitBound("batch")
	c.addPod(classPod("web", "high", "2"))
	c.wait("batch", "an end", terminating)
	c.deletePod("batch")
	c.waitBound("web")
}

// TestAPodThatWaitsForPermissionIsPreemptedInPlace: it is not deleted but goes back to the queue.
func TestAPodThatWaitsForPermissionIsPreemptedInPlace(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node-a", "2")
	held := make(chan struct{}, 9)
	p := &points{permit: func(c *scheduler.Cycle) (*scheduler.Status, time.Duration) {
		if c.Pod.Pod.Name == "held" {
			held <- struct{}{}
			return scheduler.NewStatus(scheduler.Wait), time.Hour
		}
		return nil, 0
	}}
	c.start(scheduler.Config{Profiles: with(t, p)})
	c.addPod(classPod("held", "low", "2"))
	<-held
	c.addPod(classPod("web", "high", "2"))
	c.waitBound("web")
	if e := c.waitEvent("held", "Preempted"); !strings.HasSuffix(e.Message, " on node node-a (in kube-scheduler memory).") {
		t.Errorf("event is %q", e.Message)
	}
	if got := c.get("held"); terminating(got) || got.Spec.NodeName != "" {
		t.Errorf("the pod that was held is on %q, deleted %v", got.Spec.NodeName, got.DeletionTimestamp)
	}
}
