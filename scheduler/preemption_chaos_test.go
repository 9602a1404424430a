package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// unsteady is flaky, and fails a part of the patches and deletions, too.
type unsteady struct{ *flaky }

var errUnsteady = apierrors.NewInternalError(errors.New("not now"))

func (u unsteady) Delete(ctx context.Context, ref client.Ref, o metav1.DeleteOptions) error {
	if u.roll(4) {
		return errUnsteady
	}
	return u.flaky.Delete(ctx, ref, o)
}

func (u unsteady) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, o metav1.PatchOptions) (runtime.Object, error) {
	if u.roll(6) {
		return nil, errUnsteady
	}
	return u.flaky.Patch(ctx, ref, pt, patch, o)
}

// endPods ends terminating pods, as the kubelets do, until the test is over.
func (c *cluster) endPods() {
	ctx, cancel := context.WithCancel(context.Background())
	pods := client.For[*corev1.Pod](c.c)
	w, err := pods.Watch(ctx, "default", metav1.ListOptions{})
	check(c.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range w.ResultChan() {
			if p, ok := ev.Object.(*corev1.Pod); ok && terminating(p) {
				_ = pods.Delete(ctx, "default", p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &p.UID}})
			}
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		w.Stop()
		<-done
	})
}

// TestPreemptionInChaos: while requests fail, more important pods get their nodes in the end, no node takes too much,
// nobody of the highest priority is evicted, and who had to wait gets a node once there is room.
func TestPreemptionInChaos(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.endPods()
	for _, name := range podNames("node", 5) {
		c.addNode(name, "2")
	}
	random := rand.New(rand.NewPCG(3, 3))
	shaky := &flaky{Interface: c.c, random: rand.New(rand.NewPCG(4, 4))}
	c.start(scheduler.Config{Client: unsteady{shaky}, InitialBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Seed: 1})
	byClass := map[string][]string{}
	for i := range 120 {
		class := []string{"low", "low", "low", "middle", "middle", "high"}[random.IntN(6)]
		if class == "high" && len(byClass[class]) == 15 {
			class = "low" // the important ones shall fit
		}
		name := fmt.Sprintf("%s-%d", class, i)
		c.addPod(classPod(name, class, fmt.Sprintf("%dm", 200+random.IntN(300))))
		byClass[class] = append(byClass[class], name)
	}
	shaky.mu.Lock()
	shaky.calm = true
	shaky.mu.Unlock()
	for _, name := range byClass["high"] {
		if p := c.wait(name, "a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }); terminating(p) {
			t.Errorf("%s was evicted", name)
		}
	}
	for node, cpu := range c.used() {
		if cpu > 2000 {
			t.Errorf("%s is asked for %dm of 2000m", node, cpu)
		}
	}
	for _, name := range append(byClass["high"], byClass["middle"]...) {
		_ = client.For[*corev1.Pod](c.c).Delete(context.Background(), "default", name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	}
	for _, name := range podNames("more", 3) {
		c.addNode(name, "16")
	}
	c.untilAllBound()
}

// untilAllBound waits until every pod that is not about to end has a node.
func (c *cluster) untilAllBound() {
	c.t.Helper()
	var waiting []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "default", metav1.ListOptions{})
		check(c.t, err)
		waiting = nil
		for _, p := range pods.Items {
			if !terminating(p) && p.Spec.NodeName == "" {
				waiting = append(waiting, p.Name)
			}
		}
		if waiting == nil {
			return
		}
	}
	c.t.Fatalf("pods got no node: %v", waiting)
}
