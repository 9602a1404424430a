package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// points takes part at the extension points that follow the choice of a node, and says so.
type points struct {
	mu      sync.Mutex
	calls   []string
	reserve func(c *scheduler.Cycle) (scheduler.Reservation, *scheduler.Status)
	permit  func(c *scheduler.Cycle) (*scheduler.Status, time.Duration)
	preBind func(ctx context.Context, b *scheduler.Binding) *scheduler.Status
	bind    func(ctx context.Context, b *scheduler.Binding) *scheduler.Status
}

func (*points) Name() string { return "Points" }

func (p *points) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

func (p *points) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, "; ")
}

func (p *points) PreFilter(*scheduler.Cycle) (scheduler.PreFilterResult, *scheduler.Status) {
	return scheduler.PreFilterResult{State: "found"}, nil
}

func (p *points) Reserve(c *scheduler.Cycle, state any, node *scheduler.NodeInfo) (scheduler.Reservation, *scheduler.Status) {
	p.say("Reserve %s on %s with %v", c.Pod.Pod.Name, node.Node.Name, state)
	if p.reserve != nil {
		return p.reserve(c)
	}
	return scheduler.Reservation{State: "reserved"}, nil
}

func (p *points) Unreserve(pod *scheduler.PodInfo, node string, state any) {
	p.say("Unreserve %s on %s with %v", pod.Pod.Name, node, state)
}

func (p *points) Permit(c *scheduler.Cycle, state any, node *scheduler.NodeInfo) (*scheduler.Status, time.Duration) {
	p.say("Permit %s on %s, which has %d pods, with %v", c.Pod.Pod.Name, node.Node.Name, len(node.Pods), state)
	if p.permit != nil {
		return p.permit(c)
	}
	return nil, 0
}

func (p *points) PreBindPreFlight(*scheduler.Binding) *scheduler.Status {
	if p.preBind == nil {
		return scheduler.NewStatus(scheduler.Skip)
	}
	return nil
}

func (p *points) PreBind(ctx context.Context, b *scheduler.Binding) *scheduler.Status {
	p.say("PreBind %s to %s with %v", b.Pod.Pod.Name, b.Node, b.State)
	return p.preBind(ctx, b)
}

func (p *points) Bind(ctx context.Context, b *scheduler.Binding) *scheduler.Status {
	p.say("Bind %s to %s with %v", b.Pod.Pod.Name, b.Node, b.State)
	if p.bind != nil {
		return p.bind(ctx, b)
	}
	return scheduler.NewStatus(scheduler.Skip)
}

func (p *points) PostBind(b *scheduler.Binding) { p.say("PostBind %s to %s", b.Pod.Pod.Name, b.Node) }

func with(t testing.TB, more ...scheduler.Plugin) map[string]*scheduler.Profile {
	t.Helper()
	var plugins []scheduler.WeightedPlugin
	for _, p := range more {
		plugins = append(plugins, scheduler.WeightedPlugin{Plugin: p})
	}
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append(plugins, scheduler.DefaultPlugins()...)})
	check(t, err)
	return map[string]*scheduler.Profile{scheduler.DefaultSchedulerName: profile}
}

func TestExtensionPointsFollowTheChoiceOfANode(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	p := &points{preBind: func(context.Context, *scheduler.Binding) *scheduler.Status { return nil }}
	stop := c.start(scheduler.Config{Profiles: with(t, p)})
	c.addPod(newPod("web", "1"))
	c.waitBound("web")
	stop()
	const want = "Reserve web on node-a with found; Permit web on node-a, which has 1 pods, with reserved; " +
		"PreBind web to node-a with reserved; Bind web to node-a with reserved; PostBind web to node-a"
	if got := p.said(); got != want {
		t.Errorf("called:\n%s\nwant:\n%s", got, want)
	}
}

// TestWhatFailsIsUndone lets each extension point fail once: the node is given up, said so, and the
// pod is bound in the end.
func TestWhatFailsIsUndone(t *testing.T) {
	for _, point := range []string{"Reserve", "Permit", "PreBind", "Bind"} {
		t.Run(point, func(t *testing.T) {
			c := newCluster(t)
			c.addNode("node-a", "1")
			var once sync.Once
			failing := func(at string) (s *scheduler.Status) {
				if at == point {
					once.Do(func() { s = scheduler.AsStatus(errors.New("not today")) })
				}
				return s
			}
			p := &points{
				reserve: func(*scheduler.Cycle) (scheduler.Reservation, *scheduler.Status) {
					return scheduler.Reservation{}, failing("Reserve")
				},
				permit:  func(*scheduler.Cycle) (*scheduler.Status, time.Duration) { return failing("Permit"), 0 },
				preBind: func(context.Context, *scheduler.Binding) *scheduler.Status { return failing("PreBind") },
				bind: func(context.Context, *scheduler.Binding) *scheduler.Status {
					if s := failing("Bind"); s != nil {
						return s
					}
					return scheduler.NewStatus(scheduler.Skip)
				},
			}
			stop := c.start(scheduler.Config{Profiles: with(t, p), InitialBackoff: time.Millisecond})
			c.addPod(newPod("web", "1"))
			c.waitBound("web")
			if e := c.waitEvent("web", "FailedScheduling"); e.Message != fmt.Sprintf("running %s plugin %q: not today", point, "Points") {
				t.Errorf("event is %q", e.Message)
			}
			stop()
			if got := p.said(); strings.Count(got, "Unreserve web on node-a") != 1 || strings.Count(got, "PostBind") != 1 {
				t.Errorf("called: %s", got)
			}
		})
	}
}

func TestARefusalAfterTheChoiceSaysWhy(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "1")
	p := &points{permit: func(*scheduler.Cycle) (*scheduler.Status, time.Duration) {
		return scheduler.NewStatus(scheduler.Unschedulable, "the moon is full"), 0
	}}
	c.start(scheduler.Config{Profiles: with(t, p)})
	c.addPod(newPod("web", "1"))
	c.waitMessage("web", "Unschedulable", "0/1 nodes are available: 1 the moon is full.")
}

// TestPermitHoldsAPodOnItsNode: its room is taken while it waits, and free again once it is rejected.
func TestPermitHoldsAPodOnItsNode(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "2")
	handles := make(chan *scheduler.Handle, 10)
	p := &points{permit: func(c *scheduler.Cycle) (*scheduler.Status, time.Duration) {
		if !strings.HasPrefix(c.Pod.Pod.Name, "held") {
			return nil, 0
		}
		handles <- c.Handle
		return scheduler.NewStatus(scheduler.Wait), time.Hour
	}}
	c.start(scheduler.Config{Profiles: with(t, p)})
	first := c.addPod(newPod("held-1", "1"))
	h := <-handles
	second := c.addPod(newPod("held-2", "1"))
	<-handles
	c.addPod(newPod("next", "2"))
	c.waitMessage("next", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.")
	if got := h.WaitingPods(); len(got) != 2 || got[0].Node != "node-a" || fmt.Sprint(got[0].Plugins) != "[Points]" {
		t.Errorf("waiting: %+v", got)
	}
	h.Allow(string(first.UID), "Points")
	c.waitBound("held-1")
	h.Reject(string(second.UID), "Points", "the quota is used up")
	c.waitMessage("held-2", "Unschedulable", "0/1 nodes are available: 1 the quota is used up.")
	c.deletePod("held-1")
	c.deletePod("held-2")
	c.waitBound("next")
}

func TestPermissionComesTooLate(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "1")
	c.start(scheduler.Config{Profiles: with(t, &points{permit: func(*scheduler.Cycle) (*scheduler.Status, time.Duration) {
		return scheduler.NewStatus(scheduler.Wait), time.Millisecond
	}})})
	c.addPod(newPod("web", "1"))
	const want = "0/1 nodes are available: 1 rejected due to timeout after waiting 1ms at plugin Points."
	c.waitMessage("web", "Unschedulable", want)
}

// TestAPodThatIsDeletedWaitsNoLonger: what it had reserved is given back.
func TestAPodThatIsDeletedWaitsNoLonger(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "1")
	p := &points{permit: func(c *scheduler.Cycle) (*scheduler.Status, time.Duration) {
		if c.Pod.Pod.Name == "held" {
			return scheduler.NewStatus(scheduler.Wait), time.Hour
		}
		return nil, 0
	}}
	stop := c.start(scheduler.Config{Profiles: with(t, p)})
	c.addPod(newPod("held", "1"))
	c.addPod(newPod("next", "1"))
	c.waitRefused("next", "Unschedulable")
	c.deletePod("held")
	c.waitBound("next")
	stop()
	if !strings.Contains(p.said(), "Unreserve held on node-a with reserved") {
		t.Errorf("called: %s", p.said())
	}
}

// claims wants a config map of the pod's name, and takes it for itself.
type claims struct{}

func (claims) Name() string             { return "Claims" }
func (claims) Watches() []client.Object { return []client.Object{&corev1.ConfigMap{}} }

func (claims) PreEnqueue(s *scheduler.Snapshot, pod *scheduler.PodInfo) *scheduler.Status {
	if _, ok := scheduler.Object[*corev1.ConfigMap](s, pod.Pod.Namespace, "permit"); !ok {
		return scheduler.NewStatus(scheduler.UnschedulableAndUnresolvable, "there is no permit")
	}
	return nil
}

func (claims) PreFilter(c *scheduler.Cycle) (scheduler.PreFilterResult, *scheduler.Status) {
	for m := range scheduler.Objects[*corev1.ConfigMap](c.Snapshot, c.Pod.Pod.Namespace) {
		if m.Labels["free"] == "yes" {
			return scheduler.PreFilterResult{State: m, Skip: true}, nil
		}
	}
	return scheduler.PreFilterResult{}, scheduler.NewStatus(scheduler.Unschedulable, "nothing is free")
}

func (claims) Reserve(_ *scheduler.Cycle, state any, _ *scheduler.NodeInfo) (scheduler.Reservation, *scheduler.Status) {
	taken := state.(*corev1.ConfigMap).DeepCopy()
	taken.Labels["free"] = "no"
	return scheduler.Reservation{State: taken, Assumed: []client.Object{taken}}, nil
}

func (claims) Unreserve(*scheduler.PodInfo, string, any) {}

func (claims) Helps(_ *scheduler.PodInfo, e *scheduler.Event) bool {
	_, ok := e.Object.(*corev1.ConfigMap)
	return ok
}

func TestPluginsSeeTheObjectsThatTheyWatch(t *testing.T) {
	c := newCluster(t)
	c.addNode("node-a", "4")
	c.start(scheduler.Config{Profiles: with(t, claims{})})
	c.addPod(newPod("first", "1"))
	add := func(name, free string) {
		_, err := client.For[*corev1.ConfigMap](c.c).Create(context.Background(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"free": free}}})
		check(t, err)
	}
	add("a", "yes")
	// It is let into the queue, and the free object is assumed to be taken although the API does not say so.
	add("permit", "no")
	c.waitBound("first")
	c.addPod(newPod("second", "1"))
	c.waitMessage("second", "Unschedulable", "0/1 nodes are available: nothing is free. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.")
	add("b", "yes")
	c.waitBound("second")
}
