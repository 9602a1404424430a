package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

func TestPodIsBoundAndToldSo(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.start(scheduler.Config{})
	c.addPod(newPod("web-0", "100m"))
	if node := c.waitBound("web-0"); node != "node-a" {
		t.Errorf("bound to %s", node)
	}
	e := c.waitEvent("web-0", "Scheduled")
	if e.Message != "Successfully assigned default/web-0 to node-a" || e.Type != corev1.EventTypeNormal || e.Source.Component != "default-scheduler" {
		t.Errorf("event is %s %q from %q", e.Type, e.Message, e.Source.Component)
	}
}

func TestPodsThatExistedBeforeAreBound(t *testing.T) {
	c := newCluster(t)
	for _, name := range podNames("early", 20) {
		c.addPod(newPod(name, "100m"))
	}
	c.addNode("node-a", "4")
	c.start(scheduler.Config{})
	for _, name := range podNames("early", 20) {
		c.waitBound(name)
	}
}

func TestUnschedulablePodSaysWhyAndIsBoundWhenANodeComes(t *testing.T) {
	c := newCluster(t)
	c.start(scheduler.Config{})
	c.addPod(newPod("large", "8"))
	c.waitMessage("large", "Unschedulable", "no nodes available to schedule pods")
	c.addNode("small", "4")
	const want = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	c.wait("large", want, func(p *corev1.Pod) bool { return condition(p).Message == want })
	if e := c.waitEvent("large", "FailedScheduling"); e.Type != corev1.EventTypeWarning {
		t.Errorf("event is %+v", e)
	}
	c.addNode("large", "16")
	if node := c.waitBound("large"); node != "large" {
		t.Errorf("bound to %s", node)
	}
}

func TestRoomThatIsGivenUpIsUsed(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "1")
	c.start(scheduler.Config{})
	c.addPod(newPod("first", "800m"))
	c.waitBound("first")
	c.addPod(newPod("second", "800m"))
	c.waitRefused("second", "Unschedulable")
	c.deletePod("first")
	c.waitBound("second")

	// A pod that has finished gives up its room, too.
	c.addPod(newPod("third", "800m"))
	c.waitRefused("third", "Unschedulable")
	_, err := client.For[*corev1.Pod](c.c).Patch(context.Background(), "default", "second", types.StrategicMergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`), "status")
	check(t, err)
	c.waitBound("third")
}

func TestGatesHoldAPodBack(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.start(scheduler.Config{})
	p := newPod("gated", "1")
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}}
	c.addPod(p)
	c.waitMessage("gated", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
	c.addPod(newPod("free", "1"))
	c.waitBound("free")
	patch(t, c.c, "gated", `{"spec":{"schedulingGates":[{"$patch":"delete","name":"example.com/quota"}]}}`)
	c.waitBound("gated")
}

func TestHigherPriorityGoesFirst(t *testing.T) {
	c := newCluster(t)
	for i, class := range []string{"", "system-node-critical", "", "system-cluster-critical"} {
		p := newPod(fmt.Sprintf("p%d", i), "1")
		p.Spec.PriorityClassName = class
		c.addPod(p)
	}
	f := &faulty{Interface: c.c}
	c.addNode("node-a", "5")
	c.start(scheduler.Config{Client: f, Concurrency: 1})
	for i := range 4 {
		c.waitBound(fmt.Sprintf("p%d", i))
	}
	// In the initial list pods of one priority have no order.
	if got := f.bindOrder(); !slices.Equal(got[:2], []string{"p1", "p3"}) {
		t.Errorf("bound in the order %v", got)
	}
}

func TestPodsOfOtherSchedulersAreLeftAlone(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.start(scheduler.Config{SchedulerName: "mine"})
	c.addPod(newPod("theirs", "1"))
	p := newPod("mine", "1")
	p.Spec.SchedulerName = "mine"
	c.addPod(p)
	c.waitBound("mine")
	if e := c.waitEvent("mine", "Scheduled"); e.Source.Component != "mine" {
		t.Errorf("event comes from %q", e.Source.Component)
	}
	got, err := client.For[*corev1.Pod](c.c).Get(context.Background(), "default", "theirs")
	check(t, err)
	if got.Spec.NodeName != "" || condition(got).Reason != "" {
		t.Errorf("the pod of another scheduler was touched: %+v", got)
	}
}

func TestUnsupportedFieldsAreNamed(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.start(scheduler.Config{})
	p := newPod("db", "1")
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}}
	c.addPod(p)
	c.waitMessage("db", "Unschedulable", "0/1 nodes are available: this scheduler does not support spec.resourceClaims. "+
		"preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.")
}

func TestFailedBindingsAreRetried(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	var failures atomic.Int32
	f := &faulty{Interface: c.c, fail: func(client.Ref) error {
		if failures.Add(1) <= 3 {
			return apierrors.NewInternalError(errors.New("the disk is full"))
		}
		return nil
	}}
	c.start(scheduler.Config{Client: f, InitialBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond})
	c.addPod(newPod("web", "3"))
	c.waitBound("web")
	if f.binds.Load() != 4 {
		t.Errorf("%d attempts", f.binds.Load())
	}
	e := c.waitEvent("web", "FailedScheduling")
	if !strings.Contains(e.Message, `running Bind plugin "DefaultBinder": Internal error occurred: the disk is full`) {
		t.Errorf("event is %q", e.Message)
	}
	// The room that was kept for the failed attempts is free again.
	c.addPod(newPod("small", "1"))
	c.waitBound("small")
}

func TestAPodThatIsGoneIsForgotten(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "1")
	f := &faulty{Interface: c.c}
	f.fail = func(ref client.Ref) error {
		if ref.Name == "short-lived" {
			c.deletePod(ref.Name)
		}
		return nil
	}
	c.start(scheduler.Config{Client: f})
	c.addPod(newPod("short-lived", "1"))
	c.addPod(newPod("next", "1"))
	c.waitBound("next")
	if slices.Index(f.bindOrder(), "short-lived") != 0 {
		t.Errorf("bound in the order %v", f.bindOrder())
	}
}

func TestAnotherSchedulerWasFaster(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "2")
	f := &faulty{Interface: c.c}
	f.fail = func(ref client.Ref) error {
		if ref.Name == "contested" {
			_, err := c.c.Create(context.Background(), ref, &corev1.Binding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: ref.Name},
				Target:     corev1.ObjectReference{Kind: "Node", Name: "elsewhere"}}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsConflict(err) {
				t.Error(err)
			}
		}
		return nil
	}
	c.start(scheduler.Config{Client: f, InitialBackoff: time.Millisecond})
	c.addPod(newPod("contested", "2"))
	if node := c.waitBound("contested"); node != "elsewhere" {
		t.Errorf("bound to %s", node)
	}
	c.addPod(newPod("next", "2"))
	c.waitBound("next")
}

func TestALostAnswerIsNoFailure(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "2")
	f := &faulty{Interface: c.c}
	f.fail = func(ref client.Ref) error {
		_, err := c.c.Create(context.Background(), ref, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: ref.Name},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "node-a"}}, metav1.CreateOptions{})
		check(t, err)
		return apierrors.NewTimeoutError("the answer got lost", 1)
	}
	c.start(scheduler.Config{Client: f})
	c.addPod(newPod("web", "1"))
	c.waitBound("web")
	c.waitEvent("web", "Scheduled")
	if f.binds.Load() != 1 {
		t.Errorf("%d attempts", f.binds.Load())
	}
}

// explosive panics for pods that ask for it.
type explosive struct{}

func (explosive) Name() string { return "Explosive" }

func (explosive) Filter(c *scheduler.Cycle, _ any, _ *scheduler.NodeInfo) *scheduler.Status {
	if c.Pod.Pod.Labels["explode"] != "" {
		panic("boom")
	}
	return nil
}

func TestAPanicOfAPluginHarmsOnlyItsPod(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append(scheduler.DefaultPlugins(), scheduler.WeightedPlugin{Plugin: explosive{}})})
	check(t, err)
	c.start(scheduler.Config{Profiles: map[string]*scheduler.Profile{scheduler.DefaultSchedulerName: profile}})
	bad := newPod("bad", "1")
	bad.Labels = map[string]string{"explode": "yes"}
	c.addPod(bad)
	c.waitMessage("bad", "SchedulerError", `running Filter plugin "Explosive": panic: boom`)
	c.addPod(newPod("good", "1"))
	c.waitBound("good")
}

func TestRestartLosesAndDoublesNothing(t *testing.T) {
	c := newCluster(t)
	for _, n := range podNames("node", 5) {
		c.addNode(n, "4")
	}
	names := podNames("pod", 60)
	stop := c.start(scheduler.Config{})
	for i, name := range names {
		if i%15 == 14 {
			stop()
			stop = c.start(scheduler.Config{})
		}
		c.addPod(newPod(name, "300m"))
	}
	for _, name := range names {
		c.waitBound(name)
	}
	for node, cpu := range c.used() {
		if cpu > 4000 {
			t.Errorf("%s is asked for %dm of 4000m", node, cpu)
		}
	}
}

func TestADomainThatGoesEvensTheOthers(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.addNode("node-b", "0")
	c.start(scheduler.Config{})
	for _, name := range podNames("even", 2) {
		p := newPod(name, "1")
		p.Labels = map[string]string{"app": "even"}
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname,
			WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}
		c.addPod(p)
	}
	const want = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints. " +
		"preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
	refused := c.waitAny("even-0", "even-1", want)
	check(t, client.For[*corev1.Node](c.c).Delete(context.Background(), "", "node-b", metav1.DeleteOptions{}))
	c.waitBound(refused)
}

func TestConfigErrorsNameTheField(t *testing.T) {
	c := newCluster(t)
	for _, tc := range []struct {
		cfg  scheduler.Config
		want string
	}{
		{scheduler.Config{}, "Config.Client is nil"},
		{scheduler.Config{Client: c.c, Profiles: map[string]*scheduler.Profile{}}, "Config.Profiles is empty"},
		{scheduler.Config{Client: c.c, Profiles: map[string]*scheduler.Profile{"x": nil}}, `Config.Profiles["x"]`},
		{scheduler.Config{Client: c.c, Concurrency: -1}, "Config.Concurrency is -1"},
		{scheduler.Config{Client: c.c, InitialBackoff: 20 * time.Second, MaxBackoff: time.Second}, "Config.InitialBackoff"},
		{scheduler.Config{Client: c.c, RequestTimeout: -1}, "Config.RequestTimeout"},
	} {
		if _, err := scheduler.New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want one about %q", err, tc.want)
		}
	}
}
