package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// flaky fails a part of all requests, and ends watches before their time.
type flaky struct {
	client.Interface
	mu     sync.Mutex
	random *rand.Rand
	calm   bool
}

func (f *flaky) roll(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.calm && f.random.IntN(n) == 0
}

func (f *flaky) List(ctx context.Context, ref client.Ref, o metav1.ListOptions) (*client.List, error) {
	if f.roll(3) {
		return nil, apierrors.NewTooManyRequests("try again", 0)
	}
	return f.Interface.List(ctx, ref, o)
}

func (f *flaky) Watch(ctx context.Context, ref client.Ref, o metav1.ListOptions) (watch.Interface, error) {
	if f.roll(5) {
		return nil, apierrors.NewResourceExpired("too old")
	}
	w, err := f.Interface.Watch(ctx, ref, o)
	if err == nil && f.roll(2) {
		stop := time.AfterFunc(20*time.Millisecond, w.Stop)
		context.AfterFunc(ctx, func() { stop.Stop() })
	}
	return w, err
}

// TestNothingIsLostOrOvercommittedInChaos lets nodes and pods come and go while requests fail, some of
// them after they were carried out.
func TestNothingIsLostOrOvercommittedInChaos(t *testing.T) {
	c := newCluster(t)
	random := rand.New(rand.NewPCG(7, 7))
	shaky := &flaky{Interface: c.c, random: rand.New(rand.NewPCG(8, 8))}
	f := &faulty{Interface: shaky}
	f.fail = func(ref client.Ref) error {
		switch {
		case shaky.roll(4):
			return apierrors.NewServiceUnavailable("not now")
		case shaky.roll(6):
			// Carried out, but the answer gets lost.
			pod, err := client.For[*corev1.Pod](c.c).Get(context.Background(), ref.Namespace, ref.Name)
			if err == nil {
				_, _ = c.c.Create(context.Background(), ref, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
					Target: corev1.ObjectReference{Kind: "Node", Name: "node-0"}}, metav1.CreateOptions{})
			}
			return apierrors.NewTimeoutError("no answer", 0)
		}
		return nil
	}
	c.addNode("node-0", "1000") // takes what the lost answers put there
	for i := 1; i < 6; i++ {
		c.addNode(fmt.Sprintf("node-%d", i), "2")
	}
	c.start(scheduler.Config{Client: f, InitialBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Seed: 1})
	alive := map[string]bool{}
	for i := range 300 {
		switch {
		case i%3 == 2:
			for name := range alive {
				c.deletePod(name)
				delete(alive, name)
				break
			}
		case i%50 == 10:
			check(t, client.For[*corev1.Node](c.c).Delete(context.Background(), "", "node-5", metav1.DeleteOptions{}))
		case i%50 == 30:
			c.addNode("node-5", "2")
		default:
			name := fmt.Sprintf("pod-%d", i)
			c.addPod(newPod(name, fmt.Sprintf("%dm", 100+random.IntN(400))))
			alive[name] = true
		}
	}
	shaky.mu.Lock()
	shaky.calm = true
	shaky.mu.Unlock()
	for name := range alive {
		c.waitBound(name)
	}
	for node, cpu := range c.used() {
		if cpu > 2000 && node != "node-0" && node != "node-5" {
			t.Errorf("%s is asked for %dm of 2000m", node, cpu)
		}
	}
}
