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
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/scheduler"
)

// batcher is a client whose batches are seen, and may fail.
type batcher struct {
	client.Interface
	// before, when not nil, is asked before each batch; what it returns is the answer for all, and whether the
	// batch is carried out all the same.
	before func(series int) (carryOut bool, err error)

	mu      sync.Mutex
	largest int
	binds   int
}

func (b *batcher) SharesObjects() bool { return true }

func (b *batcher) Batch(ctx context.Context, series [][]client.Write) []error {
	if series[0][0].Ref.Resource != "pods" { // the recorder's events
		return b.Interface.(client.Batcher).Batch(ctx, series)
	}
	b.mu.Lock()
	b.largest = max(b.largest, len(series))
	for _, s := range series {
		if s[0].Ref.Subresource == "binding" {
			b.binds++
		}
	}
	b.mu.Unlock()
	carryOut, err := true, error(nil)
	if b.before != nil {
		carryOut, err = b.before(len(series))
	}
	errs := make([]error, len(series))
	if carryOut {
		errs = b.Interface.(client.Batcher).Batch(ctx, series)
	}
	for i := range errs {
		if err != nil {
			errs[i] = err
		}
	}
	return errs
}

// TestBindingsShareCommits: while the server is busy with one binding, further pods get their nodes, and are bound
// together.
func TestBindingsShareCommits(t *testing.T) {
	c := newCluster(t)
	c.addNode("node", "100")
	b := &batcher{Interface: c.c}
	b.before = func(int) (bool, error) { time.Sleep(50 * time.Millisecond); return true, nil }
	for i := range 100 {
		c.addPod(newPod(fmt.Sprintf("pod-%d", i), "100m"))
	}
	c.start(scheduler.Config{Client: b})
	for i := range 100 {
		c.waitBound(fmt.Sprintf("pod-%d", i))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.largest < 2 || b.binds != 100 {
		t.Errorf("%d bindings, at the most %d at once", b.binds, b.largest)
	}
}

// TestBatchesFail has batches fail in all ways: refused, carried out without an answer, and by a panic of the client.
// Every pod gets a node, and no node more than it has.
func TestBatchesFail(t *testing.T) {
	c := newCluster(t)
	for i := range 5 {
		c.addNode(fmt.Sprintf("node-%d", i), "2")
	}
	rnd, mu, fails := rand.New(rand.NewPCG(3, 3)), sync.Mutex{}, 0
	b := &batcher{Interface: c.c}
	b.before = func(int) (bool, error) {
		mu.Lock()
		n := rnd.IntN(6)
		if n < 3 {
			fails++
		}
		mu.Unlock()
		switch n {
		case 0:
			return false, apierrors.NewServiceUnavailable("not now")
		case 1:
			return true, apierrors.NewTimeoutError("no answer", 0)
		case 2:
			panic("the client is broken")
		}
		return true, nil
	}
	c.start(scheduler.Config{Client: b, InitialBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond})
	for i := range 100 {
		c.addPod(newPod(fmt.Sprintf("pod-%d", i), "100m")) // a hundred fit
	}
	for i := range 100 {
		c.waitBound(fmt.Sprintf("pod-%d", i))
	}
	for node, cpu := range c.used() {
		if cpu > 2000 {
			t.Errorf("%s is asked for %dm of 2000m", node, cpu)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if fails == 0 {
		t.Error("no batch failed")
	}
}

// TestEvictionOfAChangedVictim: the scheduler has not seen the newest state of its victim, whose status somebody else
// has changed. What that was is still there when the victim has to go.
func TestEvictionOfAChangedVictim(t *testing.T) {
	c := newCluster(t)
	c.addClasses()
	c.addNode("node", "1")
	low := classPod("low", "low", "900m")
	low.Spec.NodeName, low.Finalizers = "node", []string{"example.com/hold"}
	c.addPod(low)
	b := &batcher{Interface: c.c}
	var once sync.Once
	b.before = func(int) (bool, error) {
		once.Do(func() {
			pods := client.For[*corev1.Pod](c.c)
			p, err := pods.Get(context.Background(), "default", "low")
			if err != nil {
				t.Error(err)
				return
			}
			p.Status.Message = "changed by the kubelet"
			if _, err := pods.UpdateStatus(context.Background(), p); err != nil {
				t.Error(err)
			}
		})
		return true, nil
	}
	c.start(scheduler.Config{Client: b})
	c.addPod(classPod("high", "high", "900m"))
	p := c.wait("low", "to be evicted", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if p.Status.Message != "changed by the kubelet" || len(p.Status.Conditions) == 0 || p.Status.Conditions[0].Type != corev1.DisruptionTarget {
		t.Errorf("%+v", p.Status)
	}
	_, err := client.For[*corev1.Pod](c.c).Patch(t.Context(), "default", "low", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), "")
	check(t, err)
	check(t, ignoreNotFound(client.For[*corev1.Pod](c.c).Delete(t.Context(), "default", "low", metav1.DeleteOptions{GracePeriodSeconds: new(int64)})))
	c.waitBound("high")
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
