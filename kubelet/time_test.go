package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/kubelet"
)

// runMemory runs a kubelet on a memory runtime until f returns.
func runMemory(t *testing.T, m *memory, f func(client.Typed[*corev1.Pod])) {
	t.Helper()
	c := apitest.Open(t).Admin()
	runMemoryOn(t, c, m, func() { f(client.For[*corev1.Pod](c)) })
}

func runMemoryOn(t *testing.T, c client.Interface, m *memory, f func()) {
	t.Helper()
	k, err := kubelet.New(kubelet.Config{Client: c, Runtime: m, NodeName: "node-a", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	<-k.Ready()
	f()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func mustCreate(t *testing.T, pods client.Typed[*corev1.Pod], p *corev1.Pod) {
	t.Helper()
	if _, err := pods.Create(context.Background(), p); err != nil {
		t.Fatal(err)
	}
}

func TestCrashLoopTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.life = func(string, uint32) (time.Duration, int) { return time.Second, 1 }
		runMemory(t, m, func(pods client.Typed[*corev1.Pod]) {
			mustCreate(t, pods, pod("crash"))
			time.Sleep(20 * time.Minute)
		})
		var waits []string
		for i, at := range m.starts["main"][1:] {
			waits = append(waits, at.Sub(m.starts["main"][i]).Round(time.Second).String())
		}
		want := []string{"1s", "11s", "21s", "41s", "1m21s", "2m41s", "5m1s", "5m1s"}
		if len(waits) < len(want) || !slices.Equal(waits[:len(want)], want) {
			t.Errorf("the container was started after %v, want %v", waits, want)
		}
	})
}

func TestLivenessTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		begin := time.Now()
		m.exec = func([]string) (int, error) {
			if time.Since(begin) > 25*time.Second && time.Since(begin) < 60*time.Second {
				return 1, nil
			}
			return 0, nil
		}
		runMemory(t, m, func(pods client.Typed[*corev1.Pod]) {
			p := pod("live")
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 3, InitialDelaySeconds: 5,
				ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
			mustCreate(t, pods, p)
			time.Sleep(2 * time.Minute)
		})
		starts := m.starts["main"]
		if len(starts) != 2 || starts[1].Sub(starts[0]).Round(time.Second) != 55*time.Second && starts[1].Sub(starts[0]).Round(time.Second) != 45*time.Second {
			t.Errorf("started at %v", starts)
		}
	})
}

// TestFaults makes calls of the runtime fail at random. Whatever fails, the pods come to run, and
// when they are deleted nothing is left.
func TestFaults(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				var mu sync.Mutex
				rnd, until := rand.New(rand.NewPCG(seed, 1)), time.Now().Add(time.Minute)
				m.fault = func(string) error {
					mu.Lock()
					defer mu.Unlock()
					if time.Now().Before(until) && rnd.IntN(3) == 0 {
						return errors.New("injected")
					}
					return nil
				}
				m.life = func(name string, _ uint32) (time.Duration, int) {
					if name == "init" {
						return time.Second, 0
					}
					return 0, 0
				}
				runMemory(t, m, func(pods client.Typed[*corev1.Pod]) { faults(t, m, pods, &until, &mu) })
			})
		})
	}
}

func faults(t *testing.T, m *memory, pods client.Typed[*corev1.Pod], until *time.Time, mu *sync.Mutex) {
	ctx := context.Background()
	for i := range 3 {
		p := pod(fmt.Sprint("p", i))
		p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: testImage}}
		mustCreate(t, pods, p)
	}
	time.Sleep(15 * time.Minute)
	list, err := pods.List(ctx, "default", metav1.ListOptions{})
	if err != nil || len(list.Items) != 3 {
		t.Fatal(len(list.Items), err)
	}
	for _, p := range list.Items {
		if !ready(p) {
			t.Errorf("pod %s is not ready: %s", p.Name, describe(p))
		}
	}
	mu.Lock()
	*until = time.Now().Add(time.Minute)
	mu.Unlock()
	for _, p := range list.Items {
		if err := pods.Delete(ctx, p.Namespace, p.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(15 * time.Minute)
	if list, err = pods.List(ctx, "default", metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("pods stay: %d, %v", len(list.Items), err)
	}
	if left, _ := m.Sandboxes(ctx); len(left) != 0 {
		t.Errorf("sandboxes stay: %+v", left)
	}
}

// TestTakenForLost: a controller that did not hear of the node for a while says so in its conditions; the
// next heartbeat sets them right.
func TestTakenForLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, ctx := apitest.Open(t).Admin(), newMemory(), context.Background()
		nodes := client.For[*corev1.Node](c)
		ready := func() corev1.ConditionStatus {
			node, err := nodes.Get(ctx, "", "node-a")
			if err != nil {
				t.Fatal(err)
			}
			for _, cond := range node.Status.Conditions {
				if cond.Type == corev1.NodeReady {
					return cond.Status
				}
			}
			return ""
		}
		runMemoryOn(t, c, m, func() {
			time.Sleep(time.Minute)
			node, err := nodes.Get(ctx, "", "node-a")
			if err != nil {
				t.Fatal(err)
			}
			for i := range node.Status.Conditions {
				node.Status.Conditions[i].Status = corev1.ConditionUnknown
			}
			if _, err := nodes.UpdateStatus(ctx, node); err != nil {
				t.Fatal(err)
			}
			if got := ready(); got != corev1.ConditionUnknown {
				t.Fatalf("Ready is %s", got)
			}
			time.Sleep(11 * time.Second)
			if got := ready(); got != corev1.ConditionTrue {
				t.Errorf("Ready is %s after the next heartbeat", got)
			}
		})
	})
}

// TestNodeAsItIs: pods are judged by the labels and taints that the node has now, not by those of the last heartbeat.
func TestNodeAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, ctx := apitest.Open(t).Admin(), newMemory(), context.Background()
		nodes, pods := client.For[*corev1.Node](c), client.For[*corev1.Pod](c)
		patch := func(change string) {
			t.Helper()
			if _, err := nodes.Patch(ctx, "", "node-a", types.MergePatchType, []byte(change), ""); err != nil {
				t.Fatal(err)
			}
		}
		phase := func(name string) corev1.PodPhase {
			t.Helper()
			p, err := pods.Get(ctx, "default", name)
			if err != nil {
				t.Fatal(err)
			}
			return p.Status.Phase
		}
		runMemoryOn(t, c, m, func() {
			patch(`{"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}`)
			time.Sleep(time.Minute) // a heartbeat tells the kubelet of the taint
			mustCreate(t, pods, pod("refused"))
			time.Sleep(2 * time.Second)
			if got := phase("refused"); got != corev1.PodFailed {
				t.Errorf("a pod that does not tolerate the taint is %s", got)
			}
			patch(`{"spec": {"taints": null}, "metadata": {"labels": {"disk": "fast"}}}`)
			p := pod("admitted")
			p.Spec.NodeSelector = map[string]string{"disk": "fast"}
			mustCreate(t, pods, p)
			time.Sleep(2 * time.Second)
			if got := phase("admitted"); got != corev1.PodRunning {
				t.Errorf("a pod for the new label, with the taint gone, is %s", got)
			}
		})
	})
}

// TestExtendedResource: what an administrator writes into the node's capacity stays there and is offered to pods, until it is
// taken away.
func TestExtendedResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, ctx := apitest.Open(t).Admin(), newMemory(), context.Background()
		nodes := client.For[*corev1.Node](c)
		const dongle = corev1.ResourceName("example.com/dongle")
		patch := func(change string) {
			t.Helper()
			if _, err := nodes.Patch(ctx, "", "node-a", types.JSONPatchType, []byte(change), "status"); err != nil {
				t.Fatal(err)
			}
		}
		offered := func() (capacity, allocatable int64, own bool) {
			t.Helper()
			node, err := nodes.Get(ctx, "", "node-a")
			if err != nil {
				t.Fatal(err)
			}
			capacityOf, allocatableOf := node.Status.Capacity[dongle], node.Status.Allocatable[dongle]
			return capacityOf.Value(), allocatableOf.Value(), !node.Status.Allocatable.Cpu().IsZero()
		}
		runMemoryOn(t, c, m, func() {
			time.Sleep(time.Minute)
			patch(`[{"op": "add", "path": "/status/capacity/example.com~1dongle", "value": "4"}]`)
			time.Sleep(10 * time.Minute) // past the next full report
			if capacity, allocatable, own := offered(); capacity != 4 || allocatable != 4 || !own {
				t.Errorf("offered: %d of %d", allocatable, capacity)
			}
			patch(`[{"op": "remove", "path": "/status/capacity/example.com~1dongle"}]`)
			time.Sleep(time.Minute)
			if capacity, allocatable, own := offered(); capacity != 0 || allocatable != 0 || !own {
				t.Errorf("offered after it was taken away: %d of %d", allocatable, capacity)
			}
		})
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, ctx := apitest.Open(t).Admin(), newMemory(), context.Background()
		nodes, leases := client.For[*corev1.Node](c), client.For[*coordinationv1.Lease](c)
		begin := time.Now()
		runMemoryOn(t, c, m, func() {
			before, err := nodes.Get(ctx, "", "node-a")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(35 * time.Second)
			lease, err := leases.Get(ctx, "kube-node-lease", "node-a")
			if err != nil || lease.Spec.RenewTime.Sub(begin).Round(time.Second) != 30*time.Second {
				t.Errorf("after 35 s the lease is %+v, %v", lease, err)
			}
			time.Sleep(10 * time.Minute)
			after, err := nodes.Get(ctx, "", "node-a")
			if err != nil || !after.Status.Conditions[0].LastHeartbeatTime.After(before.Status.Conditions[0].LastHeartbeatTime.Time) {
				t.Errorf("the status was not reported again: %v, %v", after.Status.Conditions, err)
			}
			if err := nodes.Delete(ctx, "", "node-a", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Minute)
			if again, err := nodes.Get(ctx, "", "node-a"); err != nil || again.UID == before.UID {
				t.Errorf("a deleted node was not registered again: %v", err)
			}
		})
	})
}
