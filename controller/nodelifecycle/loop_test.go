package nodelifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller/nodelifecycle"
	"github.com/inboard/inboard/store"
)

// world is an API server in memory with the controller, in a synctest bubble.
type world struct {
	*testing.T
	c      client.Interface
	nodes  client.Typed[*corev1.Node]
	leases client.Typed[*coordinationv1.Lease]
	pods   client.Typed[*corev1.Pod]
}

func inWorld(t *testing.T, f func(w *world)) { inWorldOver(t, nil, f) }

// inWorldOver is inWorld with a client that wrap, when not nil, changes for the controller.
func inWorldOver(t *testing.T, wrap func(client.Interface) client.Interface, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
		if err != nil {
			t.Fatal(err)
		}
		c := server.Client(apiserver.Identity{User: "system:kube-controller-manager"})
		admin := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})
		w := &world{T: t, c: admin, nodes: client.For[*corev1.Node](admin),
			leases: client.For[*coordinationv1.Lease](admin), pods: client.For[*corev1.Pod](admin)}
		if wrap != nil {
			c = wrap(c)
		}
		g, err := nodelifecycle.New(nodelifecycle.Config{Client: c})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// join makes a node with its lease; status is that of Ready, "" has no conditions.
func (w *world) join(name string, status corev1.ConditionStatus, taints ...corev1.Taint) {
	w.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Taints: taints}}
	_, err := w.nodes.Create(w.Context(), node)
	w.must(err)
	_, err = w.leases.Create(w.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}})
	w.must(err)
	if status != "" {
		w.post(name, status)
	}
	w.renew(name)
}

// post posts the node's status, as its kubelet would.
func (w *world) post(name string, status corev1.ConditionStatus) {
	w.Helper()
	synctest.Wait() // a write of the controller's would be a conflict
	node, err := w.nodes.Get(w.Context(), "", name)
	w.must(err)
	pressure := func(t corev1.NodeConditionType) corev1.NodeCondition {
		return corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, LastHeartbeatTime: metav1.Now()}
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.Now()},
		pressure(corev1.NodeMemoryPressure), pressure(corev1.NodeDiskPressure), pressure(corev1.NodePIDPressure)}
	_, err = w.nodes.UpdateStatus(w.Context(), node)
	w.must(err)
	time.Sleep(100 * time.Millisecond)
}

// renew renews the lease with a clock that is an hour slow.
func (w *world) renew(name string) {
	w.Helper()
	lease, err := w.leases.Get(w.Context(), corev1.NamespaceNodeLease, name)
	w.must(err)
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}
	_, err = w.leases.Update(w.Context(), lease)
	w.must(err)
}

// state tells of a node: Ready's status and the taints.
func (w *world) state(name string) string {
	w.Helper()
	synctest.Wait()
	node, err := w.nodes.Get(w.Context(), "", name)
	w.must(err)
	words := []string{"none"}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			words[0] = string(c.Status)
		}
	}
	for _, t := range node.Spec.Taints {
		words = append(words, strings.TrimPrefix(t.Key, "node.kubernetes.io/")+":"+string(t.Effect))
	}
	return strings.Join(words, " ")
}

func (w *world) want(name, state string) {
	w.Helper()
	if got := w.state(name); got != state {
		w.Errorf("node %s: %s, want %s", name, got, state)
	}
}

// live lets time pass in which the named nodes renew their leases.
func (w *world) live(d time.Duration, names ...string) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(10*time.Second, time.Until(end)))
		for _, name := range names {
			w.renew(name)
		}
	}
}

func (w *world) events() (out []string) {
	w.Helper()
	l, err := client.For[*corev1.Event](w.c).List(w.Context(), "", metav1.ListOptions{})
	w.must(err)
	for _, e := range l.Items {
		out = append(out, fmt.Sprintf("%s %s %s %s %s", e.Source.Component, e.InvolvedObject.Kind, e.Type, e.Reason, e.Message))
	}
	slices.Sort(out)
	return out
}

// TestReadyNodeIsSchedulable: kube-apiserver taints every new node, and the taint goes with the first
// report, at once.
func TestReadyNodeIsSchedulable(t *testing.T) {
	inWorld(t, func(w *world) {
		w.join("a", "", corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
		w.post("a", corev1.ConditionTrue)
		w.want("a", "True")
	})
}

// TestSilentNodeBecomesUnknown tells a whole story: two nodes, one falls silent, its pods become not
// ready, it is tainted, and it comes back.
func TestSilentNodeBecomesUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.join("a", corev1.ConditionTrue)
		w.join("b", corev1.ConditionTrue)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.PodSpec{
			NodeName: "b", Containers: []corev1.Container{{Name: "c", Image: "v1"}}}}
		pod, err := w.pods.Create(w.Context(), pod)
		w.must(err)
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		_, err = w.pods.UpdateStatus(w.Context(), pod)
		w.must(err)
		w.live(5*time.Minute, "a", "b") // the status is old, the lease is not
		w.want("b", "True")
		w.live(45*time.Second, "a")
		w.want("b", "True")
		w.live(6*time.Second, "a")
		w.want("a", "True")
		w.want("b", "Unknown unreachable:NoSchedule unreachable:NoExecute")
		got, err := w.pods.Get(w.Context(), "default", "web")
		w.must(err)
		if got.Status.Conditions[0].Status != corev1.ConditionFalse {
			t.Errorf("the pod: %v", got.Status.Conditions)
		}
		node, err := w.nodes.Get(w.Context(), "", "b")
		w.must(err)
		c := node.Status.Conditions[0]
		if c.Reason != "NodeStatusUnknown" || c.Message != "Kubelet stopped posting node status." || node.Spec.Taints[1].TimeAdded == nil {
			t.Errorf("condition %v, taints %v", c, node.Spec.Taints)
		}
		w.post("b", corev1.ConditionTrue)
		w.want("b", "True")
		time.Sleep(time.Second)
		want := []string{
			"node-controller Node Normal NodeNotReady Node b status is now: NodeNotReady",
			"node-controller Node Normal RegisteredNode Node a event: Registered Node a in Controller",
			"node-controller Node Normal RegisteredNode Node b event: Registered Node b in Controller",
			"node-controller Pod Warning NodeNotReady Node is not ready",
		}
		if got := w.events(); !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestNodeThatNeverReports gets a longer time.
func TestNodeThatNeverReports(t *testing.T) {
	inWorld(t, func(w *world) {
		w.join("a", corev1.ConditionTrue)
		w.join("b", "")
		w.live(58*time.Second, "a")
		w.want("b", "none")
		w.live(4*time.Second, "a")
		w.want("b", "Unknown unreachable:NoSchedule unreachable:NoExecute")
	})
}

// TestEvictionsAreSpread: one node at a time gets the NoExecute taint; and when the last ready node is
// lost, all that have it are spared, until one is back.
func TestEvictionsAreSpread(t *testing.T) {
	inWorld(t, func(w *world) {
		names := []string{"a", "b", "c", "d"}
		for _, name := range names {
			w.join(name, corev1.ConditionTrue)
		}
		evicting := func() (n int) {
			for _, name := range names {
				if strings.Contains(w.state(name), "NoExecute") {
					n++
				}
			}
			return n
		}
		for _, name := range names[1:] {
			w.post(name, corev1.ConditionFalse)
		}
		for want := 1; want <= 3; want++ {
			if got := evicting(); got != want {
				t.Errorf("%d nodes are evicting, want %d", got, want)
			}
			w.live(10*time.Second, names...)
		}
		w.post("a", corev1.ConditionFalse)
		if got := evicting(); got != 0 {
			t.Errorf("%d nodes are evicting while none is ready", got)
		}
		w.want("a", "False not-ready:NoSchedule")
		w.live(time.Hour, names...)
		w.post("a", corev1.ConditionTrue)
		if got := evicting(); got != 1 {
			t.Errorf("%d nodes are evicting just after one is ready, want 1", got)
		}
	})
}

// blind sees no change of leases, and may not read them while broken.
type blind struct {
	client.Interface
	broken atomic.Bool
}

func (b *blind) Watch(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (watch.Interface, error) {
	if ref.Resource != "leases" {
		return b.Interface.Watch(ctx, ref, opts)
	}
	return watch.NewFake(), nil
}

func (b *blind) Get(ctx context.Context, ref client.Ref, opts metav1.GetOptions) (runtime.Object, error) {
	if ref.Resource == "leases" && b.broken.Load() {
		return nil, apierrors.NewInternalError(errors.New("the disk is full"))
	}
	return b.Interface.Get(ctx, ref, opts)
}

// TestNobodyIsCondemnedByAStaleView: the lease itself is looked at first, and when it can't be read
// nothing happens.
func TestNobodyIsCondemnedByAStaleView(t *testing.T) {
	b := &blind{}
	inWorldOver(t, func(c client.Interface) client.Interface { b.Interface = c; return b }, func(w *world) {
		w.join("a", corev1.ConditionTrue)
		w.live(10*time.Minute, "a")
		w.want("a", "True")
		b.broken.Store(true)
		w.live(10 * time.Minute)
		w.want("a", "True")
		b.broken.Store(false)
		time.Sleep(2 * time.Minute)
		w.want("a", "Unknown unreachable:NoSchedule")
	})
}

func TestBadConfig(t *testing.T) {
	if _, err := nodelifecycle.New(nodelifecycle.Config{}); err == nil || !strings.Contains(err.Error(), "Client is nil") {
		t.Errorf("New: %v", err)
	}
}
