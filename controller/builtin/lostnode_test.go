package builtin_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
)

// machines are nodes with a kubelet of a few lines each, which can be unplugged.
type machines struct {
	*testing.T
	c      client.Interface
	nodes  client.Typed[*corev1.Node]
	leases client.Typed[*coordinationv1.Lease]
	pods   client.Typed[*corev1.Pod]
	alive  map[string]bool
}

func (m *machines) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// join registers a node as under a real kube-apiserver: tainted until it is ready.
func (m *machines) join(name string) {
	m.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	node.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}
	_, err := m.nodes.Create(m.Context(), node)
	m.must(err)
	synctest.Wait()
	node, err = m.nodes.Get(m.Context(), "", name)
	m.must(err)
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"),
		corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")}
	node.Status.Capacity = node.Status.Allocatable
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
	_, err = m.nodes.UpdateStatus(m.Context(), node)
	m.must(err)
	_, err = m.leases.Create(m.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}})
	m.must(err)
	m.alive[name] = true
	synctest.Wait()
}

// live lets time pass, second by second, in which the machines that are plugged in do their work.
func (m *machines) live(d time.Duration) {
	m.Helper()
	for range d / time.Second {
		time.Sleep(time.Second)
		synctest.Wait()
		for name, alive := range m.alive {
			if alive {
				m.beat(name)
			}
		}
	}
	synctest.Wait()
}

func (m *machines) beat(name string) {
	m.Helper()
	lease, err := m.leases.Get(m.Context(), corev1.NamespaceNodeLease, name)
	m.must(err)
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	_, err = m.leases.Update(m.Context(), lease)
	m.must(err)
	for _, p := range m.on(name) {
		if p.DeletionTimestamp != nil {
			now := int64(0)
			m.must(m.pods.Delete(m.Context(), p.Namespace, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
			continue
		}
		if p.Status.Phase == corev1.PodRunning {
			continue
		}
		p = p.DeepCopy()
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		_, err := m.pods.UpdateStatus(m.Context(), p)
		m.must(err)
	}
}

func (m *machines) on(node string) (out []*corev1.Pod) {
	m.Helper()
	l, err := m.pods.List(m.Context(), "default", metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	m.must(err)
	return l.Items
}

// want counts the pods of a node that are ready, those that are not, and those that are terminating.
func (m *machines) want(node string, ready, unready, terminating int) {
	m.Helper()
	var r, u, t int
	for _, p := range m.on(node) {
		switch {
		case p.DeletionTimestamp != nil:
			t++
		case len(p.Status.Conditions) > 0 && p.Status.Conditions[len(p.Status.Conditions)-1].Status == corev1.ConditionTrue:
			r++
		default:
			u++
		}
	}
	if r != ready || u != unready || t != terminating {
		m.Errorf("node %s has %d pods ready, %d not, %d terminating; want %d, %d, %d", node, r, u, t, ready, unready, terminating)
	}
}

func (m *machines) start(parts ...interface{ Run(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(m.Context())
	done := make(chan error, len(parts))
	for _, p := range parts {
		go func() { done <- p.Run(ctx) }()
	}
	return func() {
		cancel()
		for range parts {
			m.must(<-done)
		}
	}
}

// TestPodsOfALostNodeMoveElsewhere is the whole life of a machine that is unplugged: its pods are not
// ready after 50 s, move after five minutes more, as their default tolerations say, and are gone some
// time after someone deletes the node.
func TestPodsOfALostNodeMoveElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := apitest.Open(t)
		c := api.Admin()
		m := &machines{T: t, c: c, nodes: client.For[*corev1.Node](c), leases: client.For[*coordinationv1.Lease](c),
			pods: client.For[*corev1.Pod](c), alive: map[string]bool{}}
		g, err := builtin.New(builtin.Config{Client: api.As("system:kube-controller-manager")})
		m.must(err)
		s, err := scheduler.New(scheduler.Config{Client: api.As("system:kube-scheduler")})
		m.must(err)
		defer m.start(g, s)()
		<-g.Ready()

		m.join("a")
		m.join("b")
		_, err = client.For[*appsv1.Deployment](c).Create(t.Context(), deploymentOf("web", 4, "v1"))
		m.must(err)
		m.live(10 * time.Second)
		m.want("a", 2, 0, 0)
		m.want("b", 2, 0, 0)
		m.alive["b"] = false
		m.live(45 * time.Second)
		m.want("b", 2, 0, 0)
		m.live(10 * time.Second)
		m.want("b", 0, 2, 0)
		m.live(4 * time.Minute)
		m.want("b", 0, 2, 0)
		m.live(2 * time.Minute)
		m.want("a", 4, 0, 0)
		m.want("b", 0, 0, 2)
		m.must(m.nodes.Delete(t.Context(), "", "b", metav1.DeleteOptions{}))
		m.live(45 * time.Second)
		m.want("a", 4, 0, 0)
		m.want("b", 0, 0, 0)
	})
}
