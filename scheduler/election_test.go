package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// line is one scheduler's line to the API server, which may be cut. It counts the bindings that went through.
type line struct {
	client.Interface
	cut atomic.Bool

	mu    sync.Mutex
	bound map[string]int
}

var errCut = errors.New("no route to host")

func (l *line) err() error {
	if l.cut.Load() {
		return errCut
	}
	return nil
}

func (l *line) Get(ctx context.Context, ref client.Ref, o metav1.GetOptions) (runtime.Object, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Interface.Get(ctx, ref, o)
}

func (l *line) List(ctx context.Context, ref client.Ref, o metav1.ListOptions) (*client.List, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Interface.List(ctx, ref, o)
}

func (l *line) Watch(ctx context.Context, ref client.Ref, o metav1.ListOptions) (watch.Interface, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Interface.Watch(ctx, ref, o)
}

func (l *line) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	out, err := l.Interface.Create(ctx, ref, obj, o)
	if err == nil && ref.Subresource == "binding" {
		l.mu.Lock()
		l.bound[ref.Name]++
		l.mu.Unlock()
	}
	return out, err
}

func (l *line) Update(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.UpdateOptions) (runtime.Object, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Interface.Update(ctx, ref, obj, o)
}

func (l *line) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, data []byte, o metav1.PatchOptions) (runtime.Object, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Interface.Patch(ctx, ref, pt, data, o)
}

// elected is a scheduler that takes part in an election.
type elected struct {
	line *line
	stop context.CancelFunc
	done chan error
	*scheduler.Scheduler
}

func (c *cluster) elect(identity string) *elected {
	c.t.Helper()
	e := &elected{line: &line{Interface: c.c, bound: map[string]int{}}, done: make(chan error, 1)}
	s, err := scheduler.New(scheduler.Config{Client: e.line, Seed: 1,
		LeaderElection: scheduler.LeaderElection{Name: "kube-scheduler", Identity: identity}})
	check(c.t, err)
	ctx, cancel := context.WithCancel(c.t.Context())
	e.Scheduler, e.stop = s, cancel
	go func() { e.done <- s.Run(ctx) }()
	return e
}

func (e *elected) ready() bool {
	select {
	case <-e.Ready():
		return true
	default:
		return false
	}
}

func (c *cluster) leader() string {
	c.t.Helper()
	l, err := client.For[*coordinationv1.Lease](c.c).Get(context.Background(), "kube-system", "kube-scheduler")
	check(c.t, err)
	return *l.Spec.HolderIdentity
}

// TestElection: of two schedulers one works. When it stops, or nobody hears of it any more, the other one does.
func TestElection(t *testing.T) {
	for _, way := range []string{"stopped", "cut off"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.addNode("node-a", "100")
				c.addNode("node-b", "100")
				a := c.elect("a")
				time.Sleep(time.Second)
				b := c.elect("b")
				c.addPods("early", 20)
				time.Sleep(30 * time.Second)
				if c.leader() != "a" || !a.ready() || b.ready() || len(a.line.bound) != 20 {
					t.Fatalf("%s leads, %d pods are bound", c.leader(), len(a.line.bound))
				}
				// The end comes in the middle of work.
				c.addPods("late", 50)
				if way == "stopped" {
					a.stop()
				} else {
					a.line.cut.Store(true)
				}
				time.Sleep(9 * time.Second)
				if way != "stopped" && (b.ready() || c.leader() != "a") {
					t.Errorf("%s leads while the first one may still act", c.leader())
				}
				time.Sleep(10 * time.Second)
				if c.leader() != "b" || !b.ready() {
					t.Fatalf("%s leads", c.leader())
				}
				c.addPods("new", 10)
				time.Sleep(10 * time.Second)
				if err := <-a.done; way == "stopped" && err != nil || way != "stopped" && !errors.Is(err, scheduler.ErrLeadershipLost) {
					t.Errorf("Run returned %v", err)
				}
				c.checkBoundOnce(80, a.line, b.line)
				b.stop()
				if err := <-b.done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (c *cluster) addPods(prefix string, n int) {
	for _, name := range podNames(prefix, n) {
		c.addPod(newPod(name, "1"))
	}
}

// checkBoundOnce checks that all pods have a node, which one binding gave them.
func (c *cluster) checkBoundOnce(want int, lines ...*line) {
	c.t.Helper()
	pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "default", metav1.ListOptions{})
	check(c.t, err)
	if len(pods.Items) != want {
		c.t.Errorf("there are %d pods, want %d", len(pods.Items), want)
	}
	for _, p := range pods.Items {
		n := 0
		for _, l := range lines {
			n += l.bound[p.Name]
		}
		if p.Spec.NodeName == "" || n != 1 {
			c.t.Errorf("pod %s is on node %q after %d bindings", p.Name, p.Spec.NodeName, n)
		}
	}
}

// TestElectionsOneAfterTheOther: whatever happens to whom, all pods get a node, and no node too many.
func TestElectionsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for i := range 5 {
			c.addNode(fmt.Sprintf("node-%d", i), "20")
		}
		var all []*line
		var running []*elected
		for i := range 3 {
			running = append(running, c.elect(fmt.Sprintf("first-%d", i)))
		}
		for round := range 10 {
			c.addPods(fmt.Sprintf("round-%d", round), 10)
			time.Sleep(time.Duration(round*700) * time.Millisecond)
			// The leader meets its end, one way or the other, and a new candidate comes.
			for i, e := range running {
				if !e.ready() {
					continue
				}
				if round%2 == 0 {
					e.stop()
				} else {
					e.line.cut.Store(true)
				}
				all = append(all, e.line)
				running[i] = c.elect(fmt.Sprintf("round-%d", round))
			}
			time.Sleep(time.Duration(10+round) * time.Second)
		}
		time.Sleep(time.Minute)
		for _, e := range running {
			e.stop()
			if err := <-e.done; err != nil {
				t.Error(err)
			}
			all = append(all, e.line)
		}
		c.checkBoundOnce(100, all...)
		for node, cpu := range c.used() {
			if cpu > 20000 {
				t.Errorf("%s has %d millicores of pods", node, cpu)
			}
		}
	})
}

func TestElectionConfig(t *testing.T) {
	c := newCluster(t)
	for want, l := range map[string]scheduler.LeaderElection{
		"Config.LeaderElection.Name is empty":    {Identity: "a"},
		"Config.LeaderElection: election: Confi": {Name: "a", RenewDeadline: time.Hour},
	} {
		_, err := scheduler.New(scheduler.Config{Client: c.c, LeaderElection: l})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
